"""What was approved: git, the forge, and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest
from receiver.domain.landing import Brought, Landing, Trees
from receiver.domain.proposal import Proposal
from receiver.domain.record import Record
from receiver.domain.revision import Pending, Revision


class Repo(Protocol):
    """The ops repository, read by object id at a commit, never from a work tree."""

    async def adopted(self) -> str:
        """The commit in force (rule S4)."""

    async def revision(self, commit: str) -> Revision:
        """Catalog, inventory and policy at a commit; raises `Invalid` when they cannot be read."""

    async def trees(self, commit: str, playbook_path: str) -> Trees:
        """What a run file pins."""

    async def files(self, commit: str, playbook_path: str) -> dict[str, bytes]:
        """The named files that may enter a run (rule S6), by path below the playbook's folder."""


class Branches(Protocol):
    """Proposals as branches, and what became of them."""

    async def propose(self, *, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
        """One new file on a new branch from the base's tip; (head, base). The same again is harmless."""

    async def landing(self, proposal: Proposal, merge_sha: str | None) -> Landing:
        """The facts of git for the approval checks."""

    async def brought(self, head_ref: str, head_sha: str) -> Brought:
        """What a pull request of a person brings; `Retry` while its head cannot be had."""

    async def claim(self, run: str, instance: str, nonce: str) -> bool:
        """Claim the run (rule S2); True only for the one who was first, ever."""


class Forge(Protocol):
    """Pull requests."""

    name: str  #: `local`, `github`, `gitea` or `gitlab`

    async def open(self, opening: Opening) -> PullRequest:
        """Open one, or find the one of this branch that is open or merged; never two, whatever answer was lost."""

    async def read(self, number: int) -> PullRequest:
        """As it is now, with every review."""

    async def comment(self, number: int, text: str) -> None:
        """Write the one sticky comment, edited in place."""

    async def mark(self, number: int, marks: Marks) -> None:
        """Set our labels and the status of its head; the same again is harmless."""

    async def close(self, number: int, text: str) -> None:
        """Close it unmerged; closing a closed one is harmless."""


class Hosting(Protocol):
    """The repository on the forge, around its pull requests."""

    async def account(self) -> Account:
        """Who we are there."""

    async def posture(self) -> Posture:
        """How the base branch is protected; looked at once an hour at most."""

    async def changed(self, since: datetime | None) -> list[int]:
        """Numbers of pull requests into the base that changed since then, at most some hundred; None: the open ones."""

    async def behind(self, commit: str) -> int | None:
        """The number of the merged pull request that brought this commit of the base, if one did."""


class Adoption(Protocol):
    """What stands between the revision in force and the tip of the base (rule S4)."""

    async def fetch(self) -> str:
        """The tip of the base branch, as the forge has it now."""

    async def pending(self, adopted: str) -> tuple[Pending, ...]:
        """Commits whose content is not in force yet, oldest first."""

    async def digest(self, old: str, new: str) -> str:
        """What an acceptance stands for."""

    async def as_reviewed(self, old: str, first: str, last: str, head: str, head_ref: str) -> bool:
        """Whether these commits brought, over the revision in force, just what a pull request's head showed."""


class Turn(Record):
    """The right to look at the forge."""

    since: datetime | None  #: up to when everything was seen; None: never looked
    at: datetime  #: now, by the database's clock


class Watchbook(Protocol):
    """What was already looked at on the forge."""

    async def begin(self, repository: str, seconds: float) -> Turn | None:
        """Take the turn to look, for so long at most; None while somebody else has it."""

    async def done(self, repository: str, at: datetime | None) -> None:
        """Give the turn back; everything was seen up to `at`. None: it was not."""

    async def seen(self, repository: str, number: int, head_sha: str) -> bool:
        """Whether this head of a person's pull request was looked at."""

    async def keep(self, repository: str, number: int, head_sha: str, *, case: str | None, why: str) -> None:
        """It was; the case that it became, or why none."""

    async def is_known(self, run: str, case: str) -> bool:
        """Whether there is a case of this id, or one of this run."""


class Signatures(Protocol):
    """Signatures of people over what they approve."""

    async def is_by(self, text: str, signature: str, keys: Sequence[str]) -> bool:
        """Whether one of these ssh public keys signed exactly this text, for an approval and nothing else."""
