"""Cases, ledger, gate, runs, clearances and locks in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from receiver.domain.alert import Alert
from receiver.domain.case import CLOSED_BY_A_STRANGER, TURNED_DOWN, Case, Closed, Planned, Received
from receiver.domain.entity import Entity
from receiver.domain.history import History, Past, Track
from receiver.domain.outcome import Role
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Limits
from receiver.domain.run import RunEvent, RunResult
from receiver.domain.steps import Step
from receiver.errors import Conflict, Retry
from receiver.identity import new_id
from receiver.ports import Clearance, Clock, Event, Lease, Outage
from receiver.testing.pulse import FakePulse


@dataclass
class Row:
    """A case row."""

    case: Case
    role: Role
    due_at: datetime | None
    fence: int = 0
    lease_until: datetime | None = None
    waiting: str = ""
    woken: bool = False
    closed_at: datetime | None = None
    events: list[Event] = field(default_factory=list)


class FakeCases:
    """The Cases port: leases and fences included."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[str, Row] = {}
        self.pulse = FakePulse()
        #: living workers: name → the sites it names, and the number under which it has the name
        self.seats: dict[str, tuple[tuple[str, ...], int]] = {}
        #: what an inbox that feeds these rows does for them
        self.opener: Callable[[], int] = lambda: 0

    def now(self) -> datetime:
        """The clock of these rows."""
        return self._clock.now()

    def add(self, case: Case, role: Role = Role.PLAN) -> None:
        """A new case, due now."""
        self.rows[case.id] = Row(case=case, role=role, due_at=self._clock.now())

    async def open(self, case: Planned, events: Sequence[Event]) -> None:
        """A case that a person began."""
        about = [row.case.alert for row in self.rows.values() if row.closed_at is None]
        if case.alert and (case.alert.source, case.alert.fingerprint) in {
            (a.source, a.fingerprint) for a in about if a
        }:
            raise Conflict("opening a case: its alert has an open case already")
        self.add(case)
        self.told(case.id, *events)

    async def open_stored(self) -> int:
        """What the inbox holds."""
        return self.opener()

    async def claim(
        self, roles: Sequence[Role], worker: str, *, sites: Sequence[str] = (), seat: int | None = None
    ) -> Lease | None:
        """The most severe, then the longest due case of these sites."""
        if seat is not None and self.seats.get(worker, ((), 0))[1] != seat:
            return None
        now = self._clock.now()
        named = {site for others, _ in self.seats.values() for site in others}
        for row in sorted(self.rows.values(), key=lambda row: (_severity(row.case), row.due_at or now)):
            free = row.lease_until is None or row.lease_until < now
            site = site_of(row.case)
            serves = row.role is Role.PLAN or (site in sites if sites else site not in named)
            if row.role in roles and row.due_at is not None and row.due_at <= now and free and serves:
                revived = row.lease_until is not None
                row.fence += 1
                row.woken = False
                row.lease_until = now + timedelta(seconds=30)
                return Lease(case=row.case, fence=row.fence, until=row.lease_until, revived=revived)
        return None

    async def renew(self, lease: Lease) -> bool:
        """True while the fence holds, and longer then."""
        row = self.rows[lease.case.id]
        if row.fence != lease.fence or row.lease_until is None:
            return False
        row.lease_until = self._clock.now() + timedelta(seconds=30)
        return True

    async def save(self, lease: Lease, case: Case, events: Sequence[Event], *, role: Role) -> None:
        """Under the fence."""
        row = self.rows[case.id]
        if row.fence != lease.fence:
            raise Conflict(f"saving case {case.id}: its lease was lost")
        row.case, row.role, row.lease_until, row.waiting = case, role, None, ""
        self.told(case.id, *events)
        row.due_at = None if case.kind == "closed" else self._clock.now()
        row.closed_at = self._clock.now() if case.kind == "closed" else None
        if isinstance(case, Closed) and case.comes_again and case.alert is not None:
            self.add(Received(id=new_id(), opened_at=self._clock.now(), alert=case.alert))

    async def put_off(self, lease: Lease, *, at: datetime | None, after_seconds: float, why: str) -> bool:
        """Due later."""
        row = self.rows[lease.case.id]
        if row.fence != lease.fence:
            return False
        is_news = row.waiting != why
        later = at or self._clock.now() + timedelta(seconds=after_seconds)
        row.due_at = self._clock.now() if row.woken else later
        row.lease_until, row.waiting = None, why
        if is_news:
            self.told(lease.case.id, Event(kind="case.waiting", actor="system", text=why))
        return is_news

    def told(self, case: str, *events: Event) -> None:
        """Lines more on a case's timeline."""
        self.rows[case].events.extend(events)
        self.pulse.tell(case)


#: ends after which the same alert on the same entity has to rest
_ACTED = (
    "fixed", "not_fixed", "no_data", "failed", "interrupted", "cancelled", "rejected", "expired", "notified",
    "diagnosed", "nothing_to_do",
)  # fmt: skip


def site_of(case: Case) -> str:
    """Where its targets are, once there are any; until then where its trouble is."""
    entity = getattr(case, "entity", None)
    return getattr(case, "site", "") or (entity.site if entity else "")


def _severity(case: Case) -> int:
    # as the queue has it: what a person began comes before a warning
    return case.alert.severity_rank if case.alert is not None else 1


class FakeSites:
    """The Sites port: who is served is what the rows' seats say."""

    def __init__(self, cases: FakeCases) -> None:
        self._cases = cases
        self.out: dict[str, datetime] = {}

    async def look(self, names: Iterable[str]) -> list[Outage]:
        """Without patience."""
        rows = self._cases.rows.values()
        due = {site_of(row.case): row for row in rows if row.role is Role.EXECUTE and row.due_at is not None}
        served = {site for sites, _ in self._cases.seats.values() for site in sites or (*names, *due)}
        news = [Outage(site=site, since=since, is_over=True) for site, since in self.out.items() if site in served]
        self.out = {site: since for site, since in self.out.items() if site not in served}
        for site in sorted({*names, *due} - served - self.out.keys()):
            self.out[site] = self._cases.now()
            news.append(Outage(site=site, since=self.out[site]))
        for row in rows:
            site = site_of(row.case)
            if row.role is Role.EXECUTE and site in self.out and row.lease_until is None:
                row.waiting = f"no executor for site {site!r} since {self.out[site]:%Y-%m-%d %H:%M} UTC"
            elif row.waiting.startswith("no executor for site "):
                row.waiting = ""
        return news

    async def unserved(self) -> list[Outage]:
        """As looked at last."""
        return [Outage(site=site, since=since) for site, since in sorted(self.out.items())]


class FakeLedger:
    """The Ledger, Chronicle and Gate ports over the fake rows."""

    def __init__(self, clock: Clock, cases: FakeCases) -> None:
        self._clock, self._cases = clock, cases
        self.slots: dict[str, bool] = {}
        self.taken_at: dict[str, datetime] = {}
        self.learned: list[Closed] = []
        self.no: list[tuple[tuple[str, str, str | None, str], datetime]] = []
        self.resolved_at: dict[str, datetime] = {}
        self.why_paused: str | None = None
        self.since = clock.now() - timedelta(days=1)

    async def now(self) -> datetime:
        """The clock's word."""
        return self._clock.now()

    async def history(
        self, alert: Alert, entity: Entity | None, limits: Limits, case: str, opened_at: datetime
    ) -> History:
        """Counted over the rows."""
        window = timedelta(seconds=limits.storm_seconds)
        same = [
            row
            for row in self._cases.rows.values()
            if row.case.alert and (row.case.alert.name, row.case.alert.source) == (alert.name, alert.source)
        ]
        storm = [row for row in same if abs(row.case.opened_at - opened_at) < window]
        ended = [
            row.closed_at
            for row in same
            if row.closed_at
            and row.case.id != case
            and getattr(row.case, "entity", None) == entity
            and getattr(row.case, "outcome", "") in _ACTED
            and getattr(row.case, "reason", "") != CLOSED_BY_A_STRANGER
        ]
        fires = [row for row in same if row.case.alert and row.case.alert.fingerprint == alert.fingerprint]
        return History(
            now=self._clock.now(),
            last_acted_at=max(ended, default=None),
            fires_last_hour=len(fires),
            storm_alerts=len({row.case.alert.fingerprint for row in storm if row.case.alert}),
            storm_case=storm[0].case.id if storm else None,
            alert_resolved_at=self.resolved_at.get(alert.fingerprint),
        )

    async def past(self, alert: Alert, entity: Entity | None, case: str) -> Past:
        """Counted over the rows."""
        counts: dict[str, dict[str, int]] = {"failed": {}, "fixed": {}, "rejected": {}, "self_resolved": {}}
        for row in self._cases.rows.values():
            one = row.case
            if not isinstance(one, Closed) or one.id == case or row.closed_at is None or one.alert is None:
                continue
            if one.reason == CLOSED_BY_A_STRANGER:
                continue
            what = "failed" if one.outcome in ("not_fixed", "failed") else str(one.outcome)
            days = 1 if what == "failed" else 30
            is_recent = row.closed_at > self._clock.now() - timedelta(days=days)
            is_same = (one.alert.name, one.alert.source, one.entity) == (alert.name, alert.source, entity)
            if what in counts and is_recent and is_same:
                name = (one.plan.playbook if one.plan else "") or ""
                counts[what][name] = counts[what].get(name, 0) + 1
        return Past(self_resolved=sum(counts.pop("self_resolved").values()), **counts)

    async def track(self, alertname: str, playbook: str) -> Track:
        """Counted over what was learned."""
        ends = [
            str(case.outcome)
            for case in self.learned
            if case.alert and case.alert.name == alertname and case.plan and case.plan.playbook == playbook
        ]
        return Track(
            fixed=ends.count("fixed"),
            not_fixed=sum(ends.count(one) for one in ("not_fixed", "no_data", "failed", "interrupted")),
            not_run=sum(ends.count(one) for one in ("rejected", "expired", "superseded", "self_resolved")),
        )

    async def take_slot(self, case: str, limits: Limits) -> str | None:
        """Never more than the limit."""
        if self.slots.get(case):
            return None
        taken = sum(self.slots.values())
        if taken >= limits.open_proposals:
            return f"{taken} proposals are open, {limits.open_proposals} is the limit"
        hour = self._clock.now() - timedelta(hours=1)
        recent = sum(at > hour for at in self.taken_at.values())
        if recent >= limits.proposals_per_hour:
            return f"{recent} proposals within an hour, {limits.proposals_per_hour} is the limit"
        self.slots[case] = True
        self.taken_at.setdefault(case, self._clock.now())
        return None

    async def turned_down(self, alert: Alert, entity: Entity | None, plan: Plan) -> datetime | None:
        """Of what was learned."""
        asked = (alert.source, alert.name, entity.name if entity else None, plan.digest)
        return max((at for what, at in self.no if what == asked), default=None)

    async def learn(self, case: Closed) -> None:
        """Once."""
        if case.id not in {known.id for known in self.learned}:
            self.learned.append(case)
            if case.reason == TURNED_DOWN and case.alert and case.plan:
                entity = case.entity.name if case.entity else None
                self.no.append(((case.alert.source, case.alert.name, entity, case.plan.digest), self._clock.now()))
        self.slots[case.id] = False

    async def paused(self) -> str | None:
        """As set."""
        return self.why_paused

    async def fresh_since(self) -> datetime:
        """As set."""
        return self.since


class FakeRuns:
    """The Runs, Steps and Clearances ports."""

    def __init__(self, cases: FakeCases) -> None:
        self.cases = self._cases = cases
        self.attempts: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, str] = {}
        self.answers: dict[str, Clearance] = {}
        self.answered_at: dict[str, datetime] = {}
        self.stop: set[str] = set()
        self.off: dict[str, str] = {}  #: run → who called it off
        self.walked: dict[str, dict[int, Step]] = {}

    async def ask_clearance(self, run: str, case: str) -> Clearance | None:
        """Recorded, and answered when there is a fresh answer."""
        self.asked[run] = case
        if run in self.answers and self._cases.now() - self.answered_at[run] > timedelta(seconds=60):
            del self.answers[run]
        return self.answers.get(run)

    async def drop_clearance(self, run: str) -> None:
        """Forgotten."""
        self.asked.pop(run, None)
        self.answers.pop(run, None)

    async def wanted(self) -> list[Case]:
        """Asked, not answered, and still waiting."""
        found = [self._cases.rows[case].case for run, case in self.asked.items() if run not in self.answers]
        return [case for case in found if case.kind == "approved"]

    async def answer(self, run: str, clearance: Clearance) -> None:
        """Once per asking."""
        if run in self.asked and run not in self.answers:
            self.answers[run], self.answered_at[run] = clearance, self._cases.now()

    async def begin(
        self, run: str, case: str, mode: Literal["check", "run"], instance: str, *, most: int | None = None
    ) -> str:
        """A run begins once; a dry run that a crash cut short ends with the next of its run."""
        if mode == "run" and await self.attempt_of(run, "run"):
            raise Conflict(f"beginning run {run}: it was begun before")
        dry = [a for a in self.attempts.values() if a["mode"] == "check" and a["result"] is None]
        live = [a for a in dry if mode != "check" or a["run"] != run]
        for one in (a for a in dry if a not in live):
            now = self._cases.now()
            one["result"] = RunResult(status="interrupted", why="cut short", started_at=now, ended_at=now)
        if most is not None and len(live) >= most:
            raise Retry(f"{len(live)} rehearsals run")
        attempt = new_id()
        self.attempts[attempt] = {"run": run, "case": case, "mode": mode, "result": None, "events": []}
        self.attempts[attempt]["instance"] = instance
        return attempt

    async def record(self, attempt: str, events: Sequence[RunEvent]) -> None:
        """Appended, each number once."""
        known: list[RunEvent] = self.attempts[attempt]["events"]
        for event in events:
            if event.seq not in {one.seq for one in known}:
                known.append(event)
        self._cases.pulse.tell(self.attempts[attempt]["case"])

    async def finish(self, attempt: str, result: RunResult) -> None:
        """Once."""
        row = self.attempts[attempt]
        if row["result"] is None:
            row["result"] = result
        elif row["result"].status == "interrupted" and result.status != "interrupted" and "late" not in row:
            row["late"] = result
            said = f"its executor said later: the run ended {result.status}"
            if row["case"] in self._cases.rows:
                self._cases.told(row["case"], Event(kind="run.reported_late", actor="system", text=said))

    async def cancelled(self, attempt: str) -> bool:
        """As asked."""
        return self.attempts[attempt]["run"] in self.stop or self.attempts[attempt]["run"] in self.off

    async def attempt_of(self, run: str, mode: Literal["check", "run"]) -> tuple[str, RunResult | None] | None:
        """The last of this run and mode."""
        found = [(key, a) for key, a in self.attempts.items() if a["run"] == run and a["mode"] == mode]
        return (found[-1][0], found[-1][1]["result"]) if found else None

    async def begin_step(self, run: str, number: int, attempt: str, hosts: Sequence[str]) -> None:
        """Once."""
        known = self.walked.setdefault(run, {})
        if number in known or self.attempts[attempt]["result"] is not None:
            raise Conflict(f"beginning step {number} of run {run}: it was begun before")
        by = self.attempts[attempt]["instance"]
        known[number] = Step(number=number, hosts=tuple(hosts), begun_at=self._cases.now(), instance=by)

    async def end_step(self, run: str, number: int, result: RunResult) -> None:
        """Once."""
        step = self.walked[run][number]
        if step.result is None:
            self.walked[run][number] = step.model_copy(update={"result": result})

    async def steps(self, run: str) -> tuple[Step, ...]:
        """In order."""
        return tuple(step for _, step in sorted(self.walked.get(run, {}).items()))

    async def called_off(self, run: str) -> str | None:
        """As asked."""
        return self.off.get(run)
