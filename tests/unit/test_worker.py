"""The worker over fakes: leases, waits, bugs, clearances."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Approved, Case, Closed, Proposed, Triaged
from receiver.domain.outcome import Role, Verdict
from receiver.errors import Conflict, Refused
from receiver.ports import Event, Lease
from receiver.testing import World
from receiver.worker import Worker
from tests.unit.test_pipeline import FILES, alert

ROLES = (Role.PLAN, Role.EXECUTE)


class WorldClearances:
    """The plan role's side over the fake rows."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def wanted(self) -> list[Case]:
        rows = self._world.cases.rows
        return [rows[case].case for case in list(self._world.runs.asked.values())]

    async def answer(self, run: str, clearance: Any) -> None:
        await self._world.runs.answer(run, clearance)


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


def worker_of(world: World, **settings: Any) -> Worker:
    settings = {"roles": ROLES, "name": "test", "poll_seconds": 0.01} | settings
    return Worker(world.ports, world.cases, WorldClearances(world), **settings)


async def until(worker: Worker, done: Any, *, seconds: float = 5) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop, drain_seconds=0.1))
    try:
        async with asyncio.timeout(seconds):
            while not done():
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await task


@pytest.mark.anyio
async def test_a_worker_takes_a_case_to_the_proposal_and_a_clearance_to_the_end(world: World) -> None:
    case = world.fire(alert())
    worker = worker_of(world)
    await until(worker, lambda: world.waiting(case).startswith("needs you"))
    assert isinstance(world.case(case), Proposed)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    await world.merge(case, "anna")

    def pass_time() -> bool:
        world.clock.pass_seconds(0.1)
        return isinstance(world.case(case), Closed)

    await until(worker, pass_time, seconds=20)
    assert worker.counts.outcomes == {"fixed": 1}
    assert worker.counts.errors == 0


@pytest.mark.anyio
async def test_a_role_takes_only_its_own_kinds(world: World) -> None:
    case = world.fire(alert())
    await until(worker_of(world, roles=(Role.PLAN,)), lambda: world.case(case).kind == "vetted")
    assert world.runner.jobs == []
    assert await worker_of(world, roles=(Role.PLAN,)).step() is False
    assert await worker_of(world, roles=(Role.EXECUTE,)).step() is True
    assert world.case(case).kind == "rehearsed"


@pytest.mark.anyio
async def test_a_bug_puts_the_case_off_and_is_told(world: World) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    world.facts.gather = broken  # type: ignore[method-assign,assignment]
    case = world.fire(alert())
    worker = worker_of(world)
    assert await worker.step() and await worker.step()
    assert isinstance(world.case(case), Triaged)
    assert "a bug stopped triaged" in world.waiting(case)
    assert worker.counts.errors == 1
    assert world.notifier.told[0][2] == case
    assert await worker.step() is False


@pytest.mark.anyio
async def test_a_lost_lease_changes_nothing(world: World) -> None:
    case = world.fire(alert())
    lease = await world.cases.claim(ROLES, "slow")
    assert lease is not None
    world.clock.pass_seconds(60)
    other = await world.cases.claim(ROLES, "other")
    assert other is not None and other.revived and other.fence > lease.fence
    with pytest.raises(Conflict):
        await world.cases.save(lease, lease.case, [], role=Role.PLAN)
    assert world.case(case).kind == "received"


@pytest.mark.anyio
async def test_a_stage_whose_lease_is_lost_is_cancelled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.worker.RENEW_SECONDS", 0.02)
    ended: list[str] = []

    async def slow(*_: Any, **__: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    class LosingCases:
        """Cases whose lease cannot be renewed."""

        async def open_stored(self) -> int:
            return await world.cases.open_stored()

        async def claim(self, roles: Sequence[Role], worker: str, **place: Any) -> Lease | None:
            return await world.cases.claim(roles, worker, **place)

        async def renew(self, lease: Lease) -> bool:
            return False

        async def save(self, lease: Lease, case: Case, events: Sequence[Event], *, role: Role) -> None:
            await world.cases.save(lease, case, events, role=role)

        async def put_off(self, lease: Lease, *, at: datetime | None, after_seconds: float, why: str) -> bool:
            return await world.cases.put_off(lease, at=at, after_seconds=after_seconds, why=why)

    world.facts.gather = slow  # type: ignore[method-assign,assignment]
    world.fire(alert())
    worker = Worker(world.ports, LosingCases(), WorldClearances(world), roles=ROLES, name="test", poll_seconds=0.01)
    await until(worker, lambda: ended)
    assert ended == ["cancelled"]


@pytest.mark.anyio
async def test_a_run_is_cleared_only_while_it_is_approved(world: World) -> None:
    case = world.fire(alert())
    await world.settle()
    assert not isinstance(world.case(case), Approved)
    assert await WorldClearances(world).wanted() == []


@pytest.mark.anyio
async def test_a_worker_that_lost_its_name_ends_itself_and_drains_nothing(world: World) -> None:
    world.fire(alert())
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    world.repo.revision = slow  # type: ignore[method-assign, assignment]

    async def beat() -> None:
        await begun.wait()
        raise Refused("working as 'w': the name was lost", reason="seat_lost")

    worker = worker_of(world, chores=[(60.0, beat)])
    async with asyncio.timeout(20):
        with pytest.raises(Refused, match="the name was lost"):
            await worker.run(asyncio.Event(), drain_seconds=50)
    assert ended.is_set()


@pytest.mark.anyio
async def test_a_worker_of_another_version_than_its_database_finishes_what_it_has(world: World) -> None:
    """It takes nothing more, and its hands are not cut off, however long they take."""
    first = world.fire(alert())
    world.fire(alert("web2"))
    begun, goes_on = asyncio.Event(), asyncio.Event()
    usual, beats = world.repo.revision, 0

    async def slow(commit: str) -> Any:
        begun.set()
        await goes_on.wait()
        return await usual(commit)

    world.repo.revision = slow  # type: ignore[method-assign, assignment]

    async def beat() -> None:
        nonlocal beats
        await begun.wait()
        beats += 1
        if beats == 5:
            goes_on.set()
        raise Refused("opening the database: it has migration '9999'", reason="newer_database")

    worker = worker_of(world, chores=[(0.02, beat)], concurrency=1)
    async with asyncio.timeout(20):
        with pytest.raises(Refused, match="9999"):
            await worker.run(asyncio.Event(), drain_seconds=0)
    kinds = sorted(row.case.kind for row in world.cases.rows.values())
    assert kinds == ["received", "triaged"] and world.case(first) is not None
    assert beats >= 5, "it shows that it lives until it is done"


@pytest.mark.anyio
async def test_a_worker_that_loses_its_name_while_it_finishes_drops_the_rest(world: World) -> None:
    world.fire(alert())
    begun, reasons = asyncio.Event(), iter(["newer_database", "newer_database", "seat_lost"])

    async def slow(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    world.repo.revision = slow  # type: ignore[method-assign, assignment]

    async def beat() -> None:
        await begun.wait()
        reason = next(reasons)
        raise Refused(reason, reason=reason)

    async with asyncio.timeout(20):
        with pytest.raises(Refused, match="seat_lost"):
            await worker_of(world, chores=[(0.02, beat)]).run(asyncio.Event(), drain_seconds=50)


@pytest.mark.anyio
async def test_a_worker_whose_hands_are_full_stops_all_the_same(world: World) -> None:
    world.fire(alert())
    begun, stop = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    world.repo.revision = slow  # type: ignore[method-assign, assignment]
    running = asyncio.create_task(worker_of(world, concurrency=1).run(stop, drain_seconds=0.1))
    async with asyncio.timeout(20):
        await begun.wait()
        stop.set()
        await running
