"""Moving the ops repository to a forge and back: what the two histories are to each other, and what is pushed first.

Decides that a forge's repository is taken when it is empty, when its base is older than ours, or when it holds the
revision in force. Refuses to overwrite anything there, and loses nothing here: a base of ours that the forge does not
have is kept under a name of its own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from receiver.adapters.repo import mirror, objects, upstream
from receiver.adapters.repo.branches import base_tip, transaction
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access
from receiver.errors import Refused

#: where a base branch of ours stays that a forge's took the place of
BEFORE = "refs/gitmedic/before"
_LOOK = "refs/gitmedic/tmp/connect"

Kind = Literal["empty", "same", "behind", "ahead", "apart", "strange", "no_base"]


class Relation(NamedTuple):
    """The forge's base branch beside ours."""

    kind: Kind
    there: str  #: its tip; empty where there is none
    ours: int = 0  #: commits that only we have
    theirs: int = 0  #: commits that only the forge has


def relation(git: Git, access: Access, adopted: str) -> Relation:
    """How the forge's base branch relates to ours; it is fetched, and nothing is moved.

    `same` and `ahead` have all of ours; `behind` is part of ours; `apart` holds the revision in force and lacks other
    commits of ours; `strange` does not hold it.
    """
    base = f"refs/heads/{git.settings.base}"
    heads = upstream.listed(git, access, "refs/heads/*", doing="looking at the forge's branches")
    if not heads:
        return Relation("empty", "")
    if base not in heads:
        return Relation("no_base", "")
    try:
        upstream.fetch(git, access, f"+{base}:{_LOOK}", doing=f"fetching branch {git.settings.base!r}")
        there, ours = objects.commit_of(git, _LOOK) or "", base_tip(git)
    finally:
        # a ref that is not there is not deleted, and that is no error here
        transaction(git, f"delete {_LOOK}")
    lacking, more = _count(git, f"{there}..{ours}"), _count(git, f"{ours}..{there}")
    if not lacking:
        return Relation("ahead" if more else "same", there, 0, more)
    if not more:
        return Relation("behind", there, lacking, 0)
    held = objects.commit_of(git, adopted) == adopted and objects.is_ancestor(git, adopted, there)
    return Relation("apart" if held else "strange", there, lacking, more)


def push_base(git: Git, access: Access, there: str) -> None:
    """Our base branch to the forge, forward only, from where it was seen; `Refused` when the forge does not want it."""
    ref, doing = f"refs/heads/{git.settings.base}", f"pushing branch {git.settings.base!r}"
    tip = base_tip(git)
    pushed = upstream.push(git, access, f"{tip}:{ref}", leases={ref: there}, doing=doing)
    if pushed.flags[ref] == "!":
        raise Refused(
            f"{doing} to {access.url}: the forge refuses it: {pushed.words}",
            next_step=f"push it once with an account that may, then run this again: "
            f"git --git-dir={git.path} push {access.url} {git.settings.base}",
            reason="push_refused",
        )


def keep_base(git: Git, there: str) -> str:
    """Give our base branch a name that no fetch overwrites; that name, or nothing where the forge has all of it."""
    tip = base_tip(git)
    if tip == there or objects.is_ancestor(git, tip, there):
        return ""
    ref = f"{BEFORE}/{tip}"
    transaction(git, f"update {ref} {tip}")
    return ref


def bring(git: Git, access: Access) -> str:
    """The forge's base branch as ours, once this is its mirror; its tip."""
    mirror.check_mirror(git, access)
    return mirror.fetch(git, access)


def _count(git: Git, span: str) -> int:
    return int(git.run("rev-list", "--count", "--end-of-options", span).stdout)
