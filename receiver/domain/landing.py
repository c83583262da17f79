"""What git itself says about a merge."""

from __future__ import annotations

from receiver.domain.record import Record


class Trees(Record):
    """Git object ids of what a playbook stands on at one commit; empty where there is none."""

    playbook: str
    roles: str = ""
    collections: str = ""


class Landing(Record):
    """Gathered on a fresh view of the base branch; each tuple is (status, mode, path)."""

    base_tip: str
    merge_sha: str | None
    reachable: bool  #: the merge is an ancestor of the base branch's tip
    first_landing: bool  #: no other commit of the base branch brought this path or this blob
    reviewed: tuple[tuple[str, str, str], ...]  #: from the merge base to the head
    landed: tuple[tuple[str, str, str], ...]  #: what the merge brought
    head_blob: str | None
    landed_blob: str | None
    content: bytes | None  #: of the landed file
    trees: Trees | None = None  #: of the playbook at the adopted commit now


class Brought(Record):
    """What the head of a pull request brings, against where it left the base branch."""

    base_sha: str | None  #: the merge base; None: the histories have nothing in common
    changes: tuple[tuple[str, str, str], ...]  #: (status, mode, path), at most some fifty
    path: str | None  #: of the one added plain file, when it is that and nothing else
    content: bytes | None  #: of that file; None also when it is too large or its name is no run file's
