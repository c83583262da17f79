"""What the stages ask of the world, as small roles. Each has a fake in `receiver.testing` and real adapters.

Decides nothing. Every method raises `Unavailable` when the other side does not answer, `Refused` when a
person must act, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal, Protocol

from receiver.domain.alert import Alert
from receiver.domain.case import Case, Closed, Planned
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.history import History, Past, Track
from receiver.domain.inventory import Inventory
from receiver.domain.landing import Landing, Trees
from receiver.domain.memory import Precedent
from receiver.domain.outcome import Role
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import VerifyQuery
from receiver.domain.policyfile import Limits
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.domain.proposal import Answer, Proposal, PullRequest
from receiver.domain.question import Question
from receiver.domain.record import Record
from receiver.domain.revision import Revision
from receiver.domain.run import Job, RunEvent, RunResult

# --- what happened: the store -------------------------------------------------------------------------------


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

    async def claim(self, roles: Sequence[Role], worker: str) -> Lease | None:
        """The most urgent due case for these roles, or None."""

    async def renew(self, lease: Lease) -> bool:
        """Hold it longer; False when somebody else has it now."""

    async def save(self, lease: Lease, case: Case, events: Sequence[Event], *, role: Role) -> None:
        """Store the next kind, due at once for `role`; raises `Conflict` when the lease is lost."""

    async def put_off(self, lease: Lease, *, at: datetime | None, after_seconds: float, why: str) -> bool:
        """Leave the case as it is, due later; `why` is shown. True when the reason is news."""


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
        """Whether a person asked to stop it."""

    async def attempt_of(self, run: str, mode: Literal["check", "run"]) -> tuple[str, RunResult | None] | None:
        """The last attempt and its result, if any was begun."""


class Clearances(Protocol):
    """The plan role's side of `ask_clearance`."""

    async def wanted(self) -> list[Case]:
        """Cases whose executor waits for a word."""

    async def answer(self, run: str, clearance: Clearance) -> None:
        """Write the word; good for 60 s of database time."""


class Locks(Protocol):
    """One change at a time per host, and whatever else a playbook names."""

    async def take(self, run: str, case: str, names: Sequence[str], reason: str = "") -> str | None:
        """Take all in one order, or none; None when taken, else who holds the first one and why."""

    async def free(self, run: str) -> None:
        """Give back what this run holds."""


# --- doors: people and scripts -----------------------------------------------------------------------------


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

    async def case_of_proposal(self, number: int) -> str | None:
        """The id of the case behind a pull request."""

    async def entities(self) -> list[dict[str, Any]]:
        """One row per thing that had a case: how many are open, the last one, when its facts were taken."""


class Logs(Protocol):
    """What runs wrote, in the one JSON shape."""

    async def run(self, id: str) -> dict[str, Any] | None:
        """A run by run id: status, stats, attempts."""

    async def run_log(self, id: str, *, after: int = -1, limit: int = 1000, tail: bool = False) -> list[dict[str, Any]]:
        """Events of the run's latest attempt with a number above `after`; with `tail` the last ones."""

    async def run_tally(self, id: str) -> list[dict[str, Any]]:
        """Counts of the latest attempt by host and kind of event."""


class Pulse(Protocol):
    """Tells who shows something live that it may have changed."""

    def watch(self, case: str | None) -> AbstractContextManager[asyncio.Event]:
        """Set whenever this case (None: any case) may have changed; the watcher clears it."""


class Desk(Protocol):
    """What a person's word changes in the store."""

    async def open(self, case: Planned, events: Sequence[Event]) -> None:
        """A case that a person began."""

    async def note(self, case: str, event: Event, *, wake: bool = False) -> None:
        """Add one line to a case's timeline, and wake it."""

    async def cancel(self, run: str, actor: str) -> bool:
        """Ask a live run to stop; False when it is not running."""

    async def adopt(self, commit: str, *, old: str | None, digest: str, actor: str) -> None:
        """Put a revision in force (rule S4)."""


class ReviewDesk(Protocol):
    """Reviews and merges on the built-in forge."""

    async def approve_and_merge(self, number: int, head_sha: str, person: str, via: str) -> PullRequest:
        """Record the review of this head and merge it; raises `Conflict` on an old head or a closed one."""

    async def reject(self, number: int, person: str, via: str, why: str) -> PullRequest:
        """Close it unmerged, in this person's name."""


# --- what was approved: git and the forge ---------------------------------------------------------------


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

    async def landing(self, proposal: Proposal, merge_sha: str | None, playbook_path: str) -> Landing:
        """The facts of git for the approval checks."""

    async def claim(self, run: str, instance: str, nonce: str) -> bool:
        """Claim the run (rule S2); True only for the one who was first, ever."""


class Forge(Protocol):
    """Pull requests."""

    name: str

    async def open(self, *, branch: str, head: str, base: str, title: str, body: str) -> PullRequest:
        """Open one, or find the open one of this branch."""

    async def read(self, number: int) -> PullRequest:
        """As it is now."""

    async def comment(self, number: int, text: str) -> None:
        """Write the one sticky comment, edited in place."""

    async def close(self, number: int, text: str) -> None:
        """Close it unmerged; closing a closed one is harmless."""

    def url(self, number: int) -> str:
        """Where a person finds it."""


# --- what is: sources, hosts --------------------------------------------------------------------------


class Facts(Protocol):
    """Read-only observation."""

    async def gather(self, alert: Alert, entity: Entity | None, inventory: Inventory) -> list[Fact]:
        """Typed facts; what cannot be read is absent, and said by a fact of kind `unread`."""


class Planner(Protocol):
    """Chooses a playbook and points at facts."""

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """Always answers; `none` or `notify` when nothing fits."""


class Spent(Record):
    """What models have cost, in USD."""

    day: float  #: since midnight UTC by the database's clock, over all cases
    case: float


class Purse(Protocol):
    """The money for models, and a row for every attempt."""

    async def spent(self, case: str) -> Spent:
        """So far; raises `Unavailable` when it cannot be said, which is never zero."""

    async def book(self, case: str, attempt: Attempt) -> None:
        """Keep one attempt, whatever came of it."""


class Proof(Protocol):
    """The alert's own source."""

    async def confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        """Rule S3: the rules API lists that rule firing with these labels, by a job that may say so."""

    async def read(
        self, alert: Alert, baseline: Baseline, *, newer_than: datetime | None, held_seconds: float = 0
    ) -> Reading:
        """One three-valued look.

        `resolved` needs a sample of the alert's own series newer than `newer_than`, and that the expression
        was quiet at every evaluation of the last `held_seconds`.
        """

    async def check(
        self,
        alert: Alert | None,
        query: VerifyQuery,
        params: dict[str, Any],
        entity: Entity,
        inventory: Inventory,
        *,
        newer_than: datetime | None,
    ) -> Check:
        """One verify query of the playbook; a row counts only if its labels mean the run's own target.

        Without an alert the one source that can be asked answers; where there are several, none does.
        """


class Runner(Protocol):
    """Runs one job in one child process."""

    async def run(
        self,
        job: Job,
        record: Callable[[Sequence[RunEvent]], Awaitable[None]],
        cancelled: Callable[[], Awaitable[bool]],
    ) -> RunResult:
        """Always answers; when it returns, nothing of the run is left alive on this machine."""

    async def isolation(self) -> Literal["bwrap", "none"]:
        """The strongest rung that works here, found by a probe."""


class Notifier(Protocol):
    """Tells a person."""

    async def tell(self, subject: str, text: str, case: str | None = None) -> None:
        """Never raises: what cannot be delivered is logged."""


class Clock(Protocol):
    """The time, for everything but leases, due times and expiry, which the database's clock decides."""

    def now(self) -> datetime:
        """Aware, in UTC."""
