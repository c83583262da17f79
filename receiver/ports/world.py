"""What is: sources and hosts, models, the runner, a person to tell, the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import Inventory
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import VerifyQuery
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.domain.question import Question
from receiver.domain.record import Record
from receiver.domain.run import Job, RunEvent, Rung, RunResult


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

    async def isolation(self) -> Rung:
        """The strongest rung that works here, found by a probe."""

    async def is_over(self, run: str) -> bool:
        """Whether no process of this machine is at work on this run; what one that died left of it is ended first."""


class Notifier(Protocol):
    """Tells a person."""

    async def tell(self, subject: str, text: str, case: str | None = None) -> None:
        """Never raises: what cannot be delivered is logged."""


class Clock(Protocol):
    """The time, for everything but leases, due times and expiry, which the database's clock decides."""

    def now(self) -> datetime:
        """Aware, in UTC."""
