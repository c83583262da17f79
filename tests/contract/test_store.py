"""What the store promises to the stages: leases, fences, at most once, all or none. The fake and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.runs import PostgresRuns
from receiver.domain.case import Closed, Planned
from receiver.domain.outcome import Mode, Outcome, Role
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Limits
from receiver.domain.run import RunResult
from receiver.errors import Conflict, Retry
from receiver.identity import new_id
from receiver.ports import Clearance, Event
from receiver.testing.clock import FakeClock
from receiver.testing.locks import FakeLocks
from receiver.testing.people import FakeDesk
from receiver.testing.store import FakeCases, FakeLedger, FakeRuns
from tests.unit.test_pipeline import alert

pytestmark = pytest.mark.anyio
BOTH = (Role.PLAN, Role.EXECUTE)
NOW = datetime(2026, 11, 26, tzinfo=UTC)
PLAN = Plan(action="playbook", playbook="p", params={"host": "web1"}, why="w")


@dataclass
class Place:
    """One store."""

    cases: Any
    desk: Any
    ledger: Any
    runs: Any
    locks: Any
    waker: Any = None

    async def open(self) -> Planned:
        """A case that a person began."""
        plan = Plan(action="playbook", playbook="p", why="w")
        case = Planned(id=new_id(), opened_at=NOW, revision="c" * 40, mode=Mode.PROPOSE, entity=None, plan=plan)
        await self.desk.open(case, [Event(kind="case.planned", actor="user:anna")])
        return case


async def postgres(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    pool = await stack.enter_async_context(open_pool(request.getfixturevalue("database")))
    desk = PostgresDesk(pool)
    return Place(PostgresCases(pool), desk, PostgresLedger(pool), PostgresRuns(pool), PostgresLocks(pool), desk)


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    clock = FakeClock()
    cases = FakeCases(clock)
    runs = FakeRuns(cases)
    return Place(cases, cases, FakeLedger(clock, cases), runs, FakeLocks(cases), FakeDesk(clock, cases, runs))


MAKERS: list[Callable[[pytest.FixtureRequest, AsyncExitStack], Awaitable[Place]]] = [postgres, fake]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


async def test_a_case_is_claimed_once_and_by_its_role(place: Place) -> None:
    case = await place.open()
    assert await place.cases.claim((Role.EXECUTE,), "w") is None
    lease = await place.cases.claim(BOTH, "w")
    assert lease.case == case and not lease.revived
    assert await place.cases.claim(BOTH, "other") is None
    assert await place.cases.renew(lease) is True


async def test_saving_is_the_end_of_a_lease(place: Place) -> None:
    await place.open()
    lease = await place.cases.claim(BOTH, "w")
    ended = lease.case.end(Outcome.REFUSED, "no")
    await place.cases.save(lease, ended, [Event(kind="case.ended", actor="system")], role=Role.PLAN)
    following = await place.cases.claim(BOTH, "w")
    assert following.case == ended
    closed = following.case.become(Closed)
    await place.cases.save(following, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    assert await place.cases.claim(BOTH, "w") is None


async def test_a_reason_to_wait_is_news_once(place: Place) -> None:
    await place.open()
    for news in (True, False):
        lease = await place.cases.claim(BOTH, "w")
        assert await place.cases.put_off(lease, at=None, after_seconds=0, why="because") is news
    lease = await place.cases.claim(BOTH, "w")
    await place.cases.put_off(lease, at=None, after_seconds=3600, why="later")
    assert await place.cases.claim(BOTH, "w") is None


async def test_slots(place: Place) -> None:
    first, second = await place.open(), await place.open()
    limits = Limits(open_proposals=1)
    assert await place.ledger.take_slot(first.id, limits) is None
    assert await place.ledger.take_slot(first.id, limits) is None
    assert "1 proposals are open" in await place.ledger.take_slot(second.id, limits)
    await place.ledger.learn(first.end(Outcome.REFUSED, "no").become(Closed))
    assert await place.ledger.take_slot(second.id, limits) is None


async def test_only_what_was_turned_down_is_remembered_as_such(place: Place) -> None:
    case = (await place.open()).model_copy(update={"alert": alert(), "plan": PLAN})
    await place.ledger.learn(case.end(Outcome.REJECTED, "closed by mallory", reason="closed").become(Closed))
    assert await place.ledger.turned_down(alert(), None, PLAN) is None
    other = (await place.open()).model_copy(update={"alert": alert(), "plan": PLAN})
    said_no = other.end(Outcome.REJECTED, "turned down by anna", reason="turned_down").become(Closed)
    await place.ledger.learn(said_no)
    await place.ledger.learn(said_no)
    assert await place.ledger.turned_down(alert(), None, PLAN) <= await place.ledger.now()
    assert await place.ledger.turned_down(alert(), None, PLAN.model_copy(update={"params": {"host": "web2"}})) is None
    assert await place.ledger.turned_down(alert(name="Other"), None, PLAN) is None


async def test_a_run_begins_once_and_ends_once(place: Place) -> None:
    case, run = await place.open(), new_id()
    attempt = await place.runs.begin(run, case.id, "run", "i")
    with pytest.raises(Conflict):
        await place.runs.begin(run, case.id, "run", "i")
    assert await place.runs.attempt_of(run, "run") == (attempt, None)
    assert await place.runs.attempt_of(run, "check") is None
    result = RunResult(status="failed", started_at=NOW, ended_at=NOW)
    await place.runs.finish(attempt, result)
    await place.runs.finish(attempt, result.model_copy(update={"status": "successful"}))
    assert await place.runs.attempt_of(run, "run") == (attempt, result)


async def test_a_dry_run_that_was_cut_short_ends_with_the_next_of_its_run(place: Place) -> None:
    case, run = await place.open(), new_id()
    first = await place.runs.begin(run, case.id, "check", "i", most=1)
    second = await place.runs.begin(run, case.id, "check", "i", most=1)
    assert first != second and await place.runs.attempt_of(run, "check") == (second, None)
    late = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    await place.runs.finish(first, late)
    await place.runs.finish(second, late.model_copy(update={"status": "failed"}))
    found = await place.runs.attempt_of(run, "check")
    assert found is not None and found[1].status == "failed"


async def test_rehearsals_are_bounded(place: Place) -> None:
    case = await place.open()
    await place.runs.begin(new_id(), case.id, "check", "i", most=1)
    with pytest.raises(Retry):
        await place.runs.begin(new_id(), case.id, "check", "i", most=1)


async def test_a_clearance_is_asked_answered_and_dropped(place: Place) -> None:
    case, run = await place.open(), new_id()
    assert await place.runs.ask_clearance(run, case.id) is None
    await place.runs.answer(run, Clearance(granted=True, answers=()))
    assert (await place.runs.ask_clearance(run, case.id)).granted
    await place.runs.drop_clearance(run)
    assert await place.runs.ask_clearance(run, case.id) is None


async def test_locks_are_all_or_none(place: Place) -> None:
    case, first, second = await place.open(), new_id(), new_id()
    assert await place.locks.take(first, case.id, ["host:b"], "one") is None
    assert "host:b is held by one" in await place.locks.take(second, case.id, ["host:a", "host:b"], "two")
    assert await place.locks.take(new_id(), case.id, ["host:a"]) is None
    assert await place.locks.take(first, case.id, ["host:b"], "one") is None
    await place.locks.free(first)
    assert await place.locks.take(second, case.id, ["host:b"]) is None
    await asyncio.sleep(0)


async def test_a_reason_to_look_that_comes_while_somebody_looks_is_not_lost(place: Place) -> None:
    case = await place.open()
    lease = await place.cases.claim(BOTH, "w")
    await place.waker.wake(case.id)
    await place.cases.put_off(lease, at=None, after_seconds=3600, why="nothing new")
    again = await place.cases.claim(BOTH, "w")
    assert again is not None
    await place.cases.put_off(again, at=None, after_seconds=3600, why="nothing new")
    assert await place.cases.claim(BOTH, "w") is None
