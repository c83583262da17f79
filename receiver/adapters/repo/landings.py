"""The facts of git about one merge, for the approval checks.

Decides what "landed once" means: the path is new with this merge and untouched since, and no other file
under `runs/` has its bytes or differs from its name only in case or Unicode form. Refuses nothing and raises
nothing for a merge's ids, modes and histories that people or forges made up: they come out as facts that no check
accepts.
"""

from __future__ import annotations

import unicodedata

from receiver.adapters.repo import objects
from receiver.adapters.repo.branches import base_tip
from receiver.adapters.repo.names import is_id, is_path
from receiver.adapters.repo.process import Git
from receiver.domain.landing import Brought, Landing
from receiver.domain.proposal import Proposal
from receiver.errors import Unavailable

#: a merge of more is not a proposal; the check needs one, a person a few
_MOST_CHANGES = 50
_NOTHING: tuple[tuple[str, str, str], ...] = ()


def landing(git: Git, proposal: Proposal, merge_sha: str | None) -> Landing:
    """What git says; the adopted revision and its trees are the caller's to add."""
    tip = base_tip(git)
    merge = _commit(git, merge_sha)
    head = _commit(git, proposal.head_sha)
    reachable = merge is not None and objects.is_ancestor(git, merge, tip)
    path = proposal.path if is_path(proposal.path) else None
    head_blob = objects.blob_at(git, head, path) if head and path else None
    landed_blob = objects.blob_at(git, merge, path) if merge and path else None
    return Landing(
        base_tip=tip,
        merge_sha=merge_sha,
        reachable=reachable,
        first_landing=bool(
            reachable and merge and path and landed_blob and _first(git, merge, tip, path, landed_blob.id)
        ),
        reviewed=_reviewed(git, _commit(git, proposal.base_sha), head),
        landed=_landed(git, merge),
        head_blob=head_blob.id if head_blob else None,
        landed_blob=landed_blob.id if landed_blob else None,
        content=_content(git, landed_blob),
    )


def brought(git: Git, head: str) -> Brought:
    """What a head brings that the base branch does not have; `Unavailable` while it is not here."""
    if _commit(git, head) is None:
        raise Unavailable(f"reading commit {head[:40]!r}: the ops repository does not have it", after_seconds=10)
    fork = objects.merge_base(git, base_tip(git), head)
    changes = objects.changes(git, fork, head) if fork else ()
    one = changes[0] if len(changes) == 1 and (changes[0].status, changes[0].mode) == ("A", "100644") else None
    blob = objects.blob_at(git, head, one.path) if one is not None and is_path(one.path) else None
    return Brought(
        base_sha=fork,
        changes=_shown(changes),
        path=one.path if one is not None else None,
        content=_content(git, blob),
    )


def _commit(git: Git, one: str | None) -> str | None:
    """The commit of exactly this id; a tag's or a branch's name is none."""
    if one is None or not is_id(one):
        return None
    return one if objects.commit_of(git, one) == one else None


def _reviewed(git: Git, base: str | None, head: str | None) -> tuple[tuple[str, str, str], ...]:
    fork = objects.merge_base(git, base, head) if base and head else None
    return _shown(objects.changes(git, fork, head)) if fork and head else _NOTHING


def _landed(git: Git, merge: str | None) -> tuple[tuple[str, str, str], ...]:
    before = objects.commit_of(git, f"{merge}^1") if merge else None
    return _shown(objects.changes(git, before, merge)) if before and merge else _NOTHING


def _shown(changes: tuple[objects.Change, ...]) -> tuple[tuple[str, str, str], ...]:
    return tuple((one.status, one.mode, one.path) for one in changes[:_MOST_CHANGES])


def _content(git: Git, blob: objects.Found | None) -> bytes | None:
    if blob is None or blob.size > git.settings.max_file_bytes:
        return None
    return objects.read(git, [blob.id])[0]


def _first(git: Git, merge: str, tip: str, path: str, blob: str) -> bool:
    before = objects.commit_of(git, f"{merge}^1")
    if before is None or _touched(git, path, before) or _touched(git, path, tip, f"^{merge}"):
        return False
    return _only_one(git, tip, path, blob)


def _touched(git: Git, path: str, *commits: str) -> bool:
    """Whether any commit of this history, side branches included, added, changed or removed the path."""
    # --full-history: a file added and removed again on a side branch is simplified away without it.
    # -c: a merge counts when it differs from all its parents, not when one of them forked before the file came
    found = git.run("log", "--full-history", "-c", "--format=", "--name-only", *commits, "--", path)
    return bool(found.stdout.strip())


def _only_one(git: Git, tip: str, path: str, blob: str) -> bool:
    """The tip still has the file, and no twin of it by bytes or by name."""
    folder = f"{git.settings.prefix}/" if git.settings.prefix else ""
    top = folder + path.removeprefix(folder).split("/", 1)[0]
    # as bytes: there may be a hundred thousand run files
    listed = git.run("ls-tree", "-r", "-z", "--full-tree", tip, "--", top).stdout
    if listed.count(f" blob {blob}\t".encode()) != 1 or f" blob {blob}\t{path}\0".encode() not in listed:
        return False
    return listed.lower().count(f"\t{path.lower()}\0".encode()) == 1 and not _odd_twin(listed, path)


def _odd_twin(listed: bytes, path: str) -> bool:
    """A name beyond ASCII that some file system takes for this one."""
    if listed.isascii():
        return False
    names = (line.partition(b"\t")[2].decode("utf-8", "replace") for line in listed.split(b"\0"))
    return any(
        unicodedata.normalize("NFKC", name).casefold() == path.casefold() for name in names if not name.isascii()
    )
