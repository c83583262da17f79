"""Source, facts, planner, runner and notifier in memory: a test says what they would say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import VerifyQuery
from receiver.domain.proof import Baseline, Check, Confirmation, Reading
from receiver.domain.question import Question
from receiver.domain.run import Job, RunEvent, Rung, RunResult, RunStats
from receiver.errors import GitmedicError
from receiver.ports import Clock


class FakeProof:
    """The Proof port: `verdict` is what every look finds, as far as the port lets it."""

    def __init__(self) -> None:
        self.confirmed = True
        self.verdict = Verdict.STILL_FIRING
        self.check_verdict = Verdict.RESOLVED
        self.sample_at: datetime | None = None  #: newest sample of the series; None: as new as anybody asks for
        self.quiet_seconds = float("inf")  #: how long the expression has been quiet
        self.baseline = Baseline(expression="demo == 0", for_seconds=1, interval_seconds=1)

    async def confirm(self, alert: Alert, entity: Entity | None) -> Confirmation:
        """As set."""
        why = "the source lists it firing" if self.confirmed else "the source does not list it"
        return Confirmation(confirmed=self.confirmed, why=why, baseline=self.baseline)

    async def read(
        self, alert: Alert, baseline: Baseline, *, newer_than: datetime | None, held_seconds: float = 0
    ) -> Reading:
        """As set; resolved only by a new sample, and when quiet for the whole hold."""
        verdict = self.verdict
        if verdict is Verdict.RESOLVED and self._is_old(newer_than):
            verdict = Verdict.NO_DATA
        elif verdict is Verdict.RESOLVED and held_seconds > self.quiet_seconds:
            verdict = Verdict.STILL_FIRING
        return Reading(verdict=verdict, why=f"the fake says {verdict}", expression=baseline.expression)

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
        """As set, when the inventory knows the target and the sample is new enough."""
        unknown = entity.host not in inventory.hosts or self._is_old(newer_than)
        verdict = Verdict.NO_DATA if unknown else self.check_verdict
        return Check(id=query.id, promql=query.promql, verdict=verdict, why=f"the fake says {verdict}")

    def _is_old(self, newer_than: datetime | None) -> bool:
        return newer_than is not None and self.sample_at is not None and self.sample_at <= newer_than


class FakeFacts:
    """The Facts port: the entity's host, and what the inventory says of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.extra: list[Fact] = []
        self.unread: str | None = None

    async def gather(self, alert: Alert, entity: Entity | None, inventory: Inventory) -> list[Fact]:
        """One fact `host`, one per value of the host variable `gitmedic_facts`, and the extra ones."""
        said: list[tuple[str, Any]] = []
        if entity is not None:
            said.append(("host", entity.host))
            known = inventory.hosts[entity.host].variables.get("gitmedic_facts")
            for kind, value in known.items() if isinstance(known, dict) else ():
                said += [(kind, one) for one in (value if isinstance(value, list) else [value])]
        if self.unread is not None:
            said.append(("unread", self.unread))
        return [
            Fact(
                id=f"f{n}",
                kind=kind,
                value=value,
                source="inventory",
                trusted=True,
                taken_at=self._clock.now(),
            )
            for n, (kind, value) in enumerate(said, 1)
        ] + self.extra


class FakePlanner:
    """The Planner port: one playbook, when the catalog has it and a trusted fact names its host."""

    def __init__(self, playbook: str) -> None:
        self.playbook = playbook

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """The playbook, or a word to a person."""
        known = question.catalog.playbooks.get(self.playbook)
        host = next((fact for fact in question.facts if fact.kind == "host" and fact.trusted), None)
        if known is None or host is None:
            why = "the fake knows no host, or no such playbook"
            return Plan(action="notify", why=why), [Attempt(tier="fake", verdict="moved_on", why=why)]
        why, param = "the fake says so", known.targets.param
        properties: dict[str, dict[str, Any]] = known.params.get("properties", {})
        params = {name: one["default"] for name, one in properties.items() if "default" in one} | {param: host.value}
        binds, evidence = {param: host.id}, (host.id,)
        plan = Plan(action="playbook", playbook=known.id, why=why, params=params, binds=binds, evidence=evidence)
        return plan, [Attempt(tier="fake", verdict="accepted", why=why)]


class FakeRunner:
    """The Runner port: nothing runs; jobs are kept, `status` is how they end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.jobs: list[Job] = []
        self.at_work: set[str] = set()  #: runs that another process of this machine has in hand
        self.check_status: Literal["successful", "failed", "cancelled", "timeout", "interrupted"] = "successful"
        self.run_status: Literal["successful", "failed", "cancelled", "timeout", "interrupted"] = "successful"
        self.rung: Rung = "bwrap"
        self.on_run: Callable[[Job], None] = lambda job: None
        self.changed: str = "do it"  #: name of the task that changes something on each host
        self.preview_ends: tuple[str, ...] = ()  #: where dry runs cannot go on

    async def run(
        self,
        job: Job,
        record: Callable[[Sequence[RunEvent]], Awaitable[None]],
        cancelled: Callable[[], Awaitable[bool]],
    ) -> RunResult:
        """Keep the job, end as set."""
        self.jobs.append(job)
        began = self._clock.now()
        self.at_work.add(job.run_id)
        with suppress(GitmedicError):
            await record([RunEvent(seq=0, at=began, kind="play", text="PLAY [targets]")])
        self.at_work.discard(job.run_id)
        self.on_run(job)
        status = self.check_status if job.mode == "check" else self.run_status
        with suppress(GitmedicError):
            status = "cancelled" if await cancelled() else status
        went_well = status == "successful"
        return RunResult(
            status=status,
            rc=0 if went_well else 2,
            why="" if went_well else f"the fake ends {status}",
            stats={host.name: RunStats(ok=1, changed=1) for host in job.hosts if went_well},
            changes=tuple(f"{host.name}: {self.changed}" for host in job.hosts if went_well),
            preview_ends=self.preview_ends if job.mode == "check" else (),
            started_at=began,
            ended_at=self._clock.now(),
            isolation=job.isolation,
        )

    async def is_over(self, run: str) -> bool:
        """Unless a job of it is under way, or it is said to be."""
        return run not in self.at_work

    async def isolation(self) -> Rung:
        """As set."""
        return self.rung


class FakeNotifier:
    """The Notifier port: what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str | None]] = []

    async def tell(self, subject: str, text: str, case: str | None = None) -> None:
        """Kept."""
        self.told.append((subject, text, case))
