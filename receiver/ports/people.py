"""Doors: people and scripts, and what is shown to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from receiver.domain.case import Case, Planned
from receiver.domain.delivery import Delivery
from receiver.domain.forge import PullRequest
from receiver.domain.proof import Verification
from receiver.domain.record import Record
from receiver.domain.resolution import Resolution
from receiver.ports.happened import Event


class Token(Record):
    """A bearer token that was believed."""

    name: str
    scope: str  #: read, alerts:write, dispatch or admin
    source: str = ""  #: for alerts:write: the only source it may speak for; empty = any


class Access(Protocol):
    """Who is asking."""

    async def token(self, secret: str) -> Token | None:
        """The token with this secret, if it is known and not revoked."""

    async def enter(self, link_secret: str) -> tuple[str, str] | None:
        """Use a setup link once: (session secret, person), or None when unknown or used."""

    async def person(self, session_secret: str) -> str | None:
        """Whose session this is, if it has not ended."""

    async def leave(self, session_secret: str) -> None:
        """End a session."""


class Page(Record):
    """One page of a list, newest first."""

    items: tuple[dict[str, Any], ...]
    next: str | None = None  #: cursor of the next page


class Archive(Protocol):
    """Everything that is shown, in the one JSON shape."""

    async def alerts(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """One row per identity, each with its why."""

    async def cases(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """Short rows: id, state, outcome, why, alert name, entity, playbook, timestamps."""

    async def case(self, id: str) -> dict[str, Any] | None:
        """The whole case with its events."""

    async def events(self, id: str, *, after: int) -> list[dict[str, Any]]:
        """Events of a case with a number above `after`."""

    async def stored(self, id: str) -> Case | None:
        """The case as the stages know it."""

    async def case_of_proposal(self, repository: str, number: int) -> str | None:
        """The id of the case behind a pull request; the repository by our name for it (`key_of`)."""

    async def entities(self) -> list[dict[str, Any]]:
        """One row per thing that had a case: how many are open, the last one, when its facts were taken."""


class Lines(Record):
    """Which lines of a log: all, or those of a host, of some kinds, with a word in them."""

    attempt: str = ""  #: of this attempt, also when a later one was begun meanwhile; empty: of the latest
    host: str = ""
    kinds: tuple[str, ...] = ()
    word: str = ""


class Logs(Protocol):
    """What runs wrote, in the one JSON shape."""

    async def run(self, id: str) -> dict[str, Any] | None:
        """A run by run id: status, stats, attempts."""

    async def run_log(
        self, id: str, *, after: int = -1, limit: int = 1000, tail: bool = False, of: Lines | None = None
    ) -> list[dict[str, Any]]:
        """Events of the run's latest attempt with a number above `after`; with `tail` the last ones."""

    async def run_tally(self, id: str) -> list[dict[str, Any]]:
        """Counts of the latest attempt by host and kind of event."""

    async def run_case(self, id: str) -> dict[str, Any] | None:
        """The case of a run, also of one that was never begun: id, state, waiting, outcome, is_open."""


class Timetables(Protocol):
    """What became of planned moments."""

    async def marks(self) -> list[dict[str, Any]]:
        """One row per schedule: since when it is known, its last moment and fate, its next moment."""

    async def moments(self, name: str | None, *, limit: int, cursor: str | None) -> Page:
        """Rows of one schedule, or of all, newest first, each with its cases and how they ended."""


class Pulse(Protocol):
    """Tells who shows something live that it may have changed."""

    def watch(self, case: str | None) -> AbstractContextManager[asyncio.Event]:
        """Set whenever this case (None: any case) may have changed; the watcher clears it."""


class Desk(Protocol):
    """What a person's word changes in the store."""

    async def open(self, case: Planned, events: Sequence[Event]) -> None:
        """A case that a person began; raises `Conflict` when its alert has an open one."""

    async def note(self, case: str, event: Event, *, wake: bool = False) -> None:
        """Add one line to a case's timeline, and wake it."""

    async def wake(self, case: str) -> None:
        """It is due now, without a word on its timeline."""

    async def cancel(self, run: str, actor: str) -> bool:
        """Ask a live run to stop, or keep an approved one from beginning; False when it is neither."""

    async def adopt(self, commit: str, *, old: str | None, digest: str, actor: str) -> None:
        """Put a revision in force (rule S4)."""


class ReviewDesk(Protocol):
    """Reviews that people give on our own pages, and merges in their name."""

    async def approve(self, number: int, head_sha: str, person: str, via: str, *, signature: str = "") -> PullRequest:
        """Record the review of this head, which merges nothing; raises `Conflict` as below."""

    async def approve_and_merge(
        self, number: int, head_sha: str, person: str, via: str, *, signature: str = ""
    ) -> PullRequest:
        """Record the review of this head and merge it; raises `Conflict` on an old head or a closed one."""

    async def reject(self, number: int, person: str, via: str, why: str) -> PullRequest:
        """Close it unmerged, in this person's name."""


class Resolutions(Protocol):
    """Words of people about interrupted runs."""

    async def say(self, case: str, word: Resolution, opens: Planned | None = None) -> bool:
        """Keep one word, and open its new case in the same step; False when the case is no interrupted one, or is
        settled: then nothing is opened."""

    async def of(self, case: str) -> tuple[Resolution, ...]:
        """All words about a case, oldest first."""

    async def asked(self) -> list[str]:
        """Cases of which somebody wants to know how things are now."""

    async def answer(self, case: str, verification: Verification, *, settles: bool) -> None:
        """What was seen, for all who asked; it becomes the case's verification, its outcome stays."""

    async def waiting(self) -> int:
        """How many interrupted runs need a person."""


class Acceptances(Protocol):
    """Words of people for a revision that no forge counted."""

    async def accept(self, old: str, new: str, digest: str, *, person: str, via: str) -> tuple[str, ...]:
        """Record one person's word, once; the names of all who gave theirs for exactly this, in order."""


class Deliveries(Protocol):
    """Webhook deliveries of the forge, which only say where to look."""

    async def take(self, delivery: Delivery) -> bool:
        """Keep it and wake the case that waits for its pull request, in one step; False when it was taken before."""

    async def since(self, forge: str, repository: str, moment: datetime) -> list[Delivery]:
        """What came after this moment by the database's clock, oldest first, some hundred at most."""
