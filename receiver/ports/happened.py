"""What happened: the store, and the queue that the case rows are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from receiver.domain.alert import Alert
from receiver.domain.case import Case, Closed, Planned
from receiver.domain.entity import Entity
from receiver.domain.history import History, Past, Track
from receiver.domain.memory import Precedent
from receiver.domain.outcome import Role
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Limits
from receiver.domain.proof import Baseline, Reading
from receiver.domain.proposal import Answer
from receiver.domain.record import Record
from receiver.domain.run import RunEvent, RunResult
from receiver.domain.steps import Step
from receiver.domain.timetable import Moment


class Post(Record):
    """One authenticated webhook request, exactly as it came."""

    source: str
    body: bytes
    token: str = ""  #: name of the token that let it in


class Receipt(Record):
    """What one request turned into; given only after the commit."""

    alerts: int
    new: int
    unreadable: int


class Inbox(Protocol):
    """Where deliveries become durable."""

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        """Store all in one commit; one receipt each, in order."""


class Event(Record):
    """One line of a case's timeline. Append-only, numbered per case by the store."""

    kind: str  #: `case.triaged`, `case.waiting`, `run.started`, `proposal.approved`, …
    actor: str  #: `user:`, `os:`, `token:`, `forge:`, `policy:` with a name, or `system`
    text: str = ""  #: for people
    data: dict[str, Any] = {}


class Lease(Record):
    """The right to advance one case until `until`; every write carries the fence."""

    case: Case
    fence: int
    until: datetime  #: by the database's clock
    seconds: float = 30.0  #: its whole length: what a worker measures on a clock of its own
    revived: bool = False  #: the lease before this one ran out without a word


class Cases(Protocol):
    """The case rows, which are the queue."""

    async def open_stored(self) -> int:
        """Give alerts that the front door stored their cases, some hundred at a time; how many were looked at."""

    async def claim(
        self, roles: Sequence[Role], worker: str, *, sites: Sequence[str] = (), seat: int | None = None
    ) -> Lease | None:
        """The most urgent due case for these roles, or None.

        What touches hosts is taken by who serves their site; without `sites`, every site that no other living worker
        names. A `seat` that was lost takes nothing.
        """

    async def renew(self, lease: Lease) -> bool:
        """Hold it longer; False when somebody else has it now."""

    async def save(self, lease: Lease, case: Case, events: Sequence[Event], *, role: Role) -> None:
        """Store the next kind, due at once for `role`; raises `Conflict` when the lease is lost."""

    async def put_off(self, lease: Lease, *, at: datetime | None, after_seconds: float, why: str) -> bool:
        """Leave the case as it is, due later; `why` is shown. True when the reason is news."""


class Outage(Record):
    """A site without a living executor, or one that has one again."""

    site: str
    since: datetime
    is_over: bool = False


class Sites(Protocol):
    """Where runs happen, and whether an executor lives there."""

    async def look(self, names: Iterable[str]) -> list[Outage]:
        """Note which of these are served; the outages that began or ended, each once. Waiting cases say it, too."""

    async def unserved(self) -> list[Outage]:
        """The outages of now, of which people were told."""


class Ledger(Protocol):
    """Counts, limits and outcomes."""

    async def history(
        self, alert: Alert, entity: Entity | None, limits: Limits, case: str, opened_at: datetime
    ) -> History:
        """What is known about this alert and its entity, without the case itself."""

    async def now(self) -> datetime:
        """The database's clock, which alone decides expiry."""

    async def take_slot(self, case: str, limits: Limits) -> str | None:
        """Take a proposal slot; None when taken (or held already), else why not. Fails closed."""

    async def turned_down(self, alert: Alert, entity: Entity | None, plan: Plan) -> datetime | None:
        """When somebody who may approve last said no to just this alert, playbook and parameters."""

    async def learn(self, case: Closed) -> None:
        """Keep the outcome and the track record, once; frees the slot."""


class Memory(Protocol):
    """What became of cases like this one."""

    async def recall(self, alert: Alert, entity: Entity | None) -> list[Precedent]:
        """The nearest few, best first; empty when nothing is near or it cannot be told in time. Never raises."""

    async def remember(self, case: Closed) -> None:
        """Keep one row of a closed case, once; structured fields only."""


class Embedder(Protocol):
    """Turns text into vectors; what means the same lies near."""

    model: str  #: its name; vectors of two models are never compared

    async def embed(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """One finite vector of length 1 per text, in order; `query`: what is looked for, else what is kept."""


class Chronicle(Protocol):
    """How earlier cases ended: measured outcomes only."""

    async def past(self, alert: Alert, entity: Entity | None, case: str) -> Past:
        """How earlier cases of this alert name on this entity ended."""

    async def track(self, alertname: str, playbook: str) -> Track:
        """What became of this playbook's earlier runs for this alert name, on anything."""


class Gate(Protocol):
    """Whether anything may start at all."""

    async def paused(self) -> str | None:
        """Why nothing may start now, or None."""

    async def fresh_since(self) -> datetime:
        """What was approved before this moment needs a fresh approval (rule S2)."""


class Clearance(Record):
    """Role plan's word that a run may start, good for a minute."""

    granted: bool
    answers: tuple[Answer, ...]
    baseline: Baseline | None = None
    before: Reading | None = None
    step: int = 0  #: which step may begin


class Runs(Protocol):
    """The bookkeeping around the start and the end of a run."""

    async def ask_clearance(self, run: str, case: str) -> Clearance | None:
        """The fresh answer, or None when there is none yet (the asking itself is recorded)."""

    async def drop_clearance(self, run: str) -> None:
        """Forget the answer: it was used, or it was no."""

    async def begin(
        self, run: str, case: str, mode: Literal["check", "run"], instance: str, *, most: int | None = None
    ) -> str:
        """Record the start before the process exists; returns the attempt's id.

        Raises `Conflict` when this run was begun before: a run begins once. `most` bounds how many
        rehearsals live at once; above it raises `Retry`.
        """

    async def record(self, attempt: str, events: Sequence[RunEvent]) -> None:
        """Append events; a number seen before is dropped."""

    async def finish(self, attempt: str, result: RunResult) -> None:
        """Record the end, once."""

    async def cancelled(self, attempt: str) -> bool:
        """Whether a person asked to stop it, before or after it began."""

    async def attempt_of(self, run: str, mode: Literal["check", "run"]) -> tuple[str, RunResult | None] | None:
        """The last attempt and its result, if any was begun."""


class Steps(Protocol):
    """The steps of a run over several hosts, and whether it was called off before it began."""

    async def begin_step(self, run: str, number: int, attempt: str, hosts: Sequence[str]) -> None:
        """Record it before its process exists; `Conflict` when it was begun before, or the attempt has ended."""

    async def end_step(self, run: str, number: int, result: RunResult) -> None:
        """Record its end, once."""

    async def steps(self, run: str) -> tuple[Step, ...]:
        """Those that were begun, in order."""

    async def called_off(self, run: str) -> str | None:
        """Who said that it must not begin."""


class Clearances(Protocol):
    """The plan role's side of `ask_clearance`."""

    async def wanted(self) -> list[Case]:
        """Cases whose executor waits for a word."""

    async def answer(self, run: str, clearance: Clearance) -> None:
        """Write the word; good for 60 s of database time."""


class Locks(Protocol):
    """One change at a time per host, and whatever else a playbook names; whoever waits longest goes first."""

    async def take(self, run: str, case: str, names: Sequence[str], reason: str = "") -> str | None:
        """Take all, or none and keep a place in the queue; None when taken, else whom it waits for and why."""

    async def free(self, run: str) -> None:
        """Give back what this run holds, its place in the queue too; whoever can go now is due."""


class Schedules(Protocol):
    """Planned moments, each filed once whoever looks."""

    async def keep(self, names: Sequence[str]) -> None:
        """Only these schedules are in force; the marks of all others are forgotten."""

    async def since(self, name: str, rule: str) -> datetime:
        """Up to when every moment has its row; a new schedule, or one with a new rule, begins now."""

    async def passed(self, name: str, upto: datetime, next_at: datetime | None) -> None:
        """Every moment up to then has its row; the next one. Never goes back."""

    async def file(self, moment: Moment, cases: Sequence[Planned]) -> bool:
        """The moment's row and its cases, all or nothing; False when it was filed before.

        Raises `Conflict` for cases beside one of its earlier runs that is still open.
        """
