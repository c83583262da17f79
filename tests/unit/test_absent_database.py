"""A run whose database is away for a moment: its end, its lines and its lease are kept."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver import stepping, worker
from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.runner import told
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.run import RunEvent, RunResult
from receiver.errors import Unavailable
from receiver.testing import World
from tests.unit.test_pipeline import FILES, alert, closed, proposed
from tests.unit.test_worker import until, worker_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


async def test_the_end_of_a_run_is_written_when_the_database_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await proposed(world)
    finish, tries = world.runs.finish, []

    async def away(attempt: str, result: RunResult) -> None:
        tries.append(attempt)
        if len(tries) < 12:
            raise Unavailable("the database is starting up")
        await finish(attempt, result)

    monkeypatch.setattr(stepping, "PATIENCE", (0.0,) * 6)
    monkeypatch.setattr("receiver.stages.execute.OF_AN_END", (0.0,) * 20)
    monkeypatch.setattr(world.runs, "finish", away)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.FIXED
    assert len(tries) == 12


async def test_the_end_of_a_step_is_written_when_the_database_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await proposed(world)
    end_step, tries = world.runs.end_step, []

    async def away(run: str, step: int, result: RunResult) -> None:
        tries.append(step)
        if len(tries) < 12:
            raise Unavailable("the database is starting up")
        await end_step(run, step, result)

    monkeypatch.setattr(stepping, "OF_AN_END", (0.0,) * 20)
    monkeypatch.setattr(world.runs, "end_step", away)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.FIXED
    assert len(tries) == 12


def test_the_end_of_a_run_waits_as_long_as_its_case_is_held() -> None:
    assert 300 < sum(stepping.OF_AN_END) < worker.HOPE_SECONDS


async def test_lines_of_a_run_wait_for_the_database() -> None:
    now = datetime.now(UTC)
    events = [RunEvent(seq=number, at=now, kind="ok") for number in range(5)]
    seen, kept, tries = told.Seen(waiting=list(events)), [], []

    async def record(batch: Sequence[RunEvent]) -> None:
        tries.append(len(batch))
        if len(tries) == 1:
            raise Unavailable("the database is starting up")
        kept.extend(batch)

    over = asyncio.Event()
    flush = asyncio.create_task(told.flush(seen, record, over))
    async with asyncio.timeout(5):
        while len(kept) < 5:
            await asyncio.sleep(0.01)
    over.set()
    await flush
    assert kept == events and seen.waiting == [] and len(tries) == 2


async def test_a_lease_outlives_a_moment_without_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gather, asked, ended = world.facts.gather, [], []

    async def slow(*given: Any, **more: Any) -> Any:
        try:
            while len(asked) < 7:
                await asyncio.sleep(0.01)
        finally:
            ended.append(len(asked))
        return await gather(*given, **more)

    async def renew(lease: Any) -> bool:
        asked.append(1)
        if len(asked) in (5, 6):
            raise Unavailable("the database is starting up")
        return True

    claim = world.cases.claim

    async def short(*given: Any, **named: Any) -> Any:  # over before the two renewals that fail, were it not renewed
        lease = await claim(*given, **named)
        # the database's clock is an hour ahead, or behind: of no matter
        until = datetime.now(UTC) - timedelta(hours=1)
        return lease and lease.model_copy(update={"until": until, "seconds": 0.3})

    monkeypatch.setattr("receiver.worker.RENEW_SECONDS", 0.1)
    monkeypatch.setattr(world.cases, "renew", renew, raising=False)
    monkeypatch.setattr(world.cases, "claim", short)
    monkeypatch.setattr(world.facts, "gather", slow)
    world.fire(alert())
    await until(worker_of(world), lambda: ended)
    assert ended[0] >= 7


async def test_a_database_that_is_away_for_long_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, claims, ended = [], [], []

    async def renew(lease: Any) -> bool:
        renewed.append(lease.case.id)
        if len(renewed) <= 30:  # many leases long
            raise Unavailable("the database is starting up")
        return True

    claim, gather = world.cases.claim, world.facts.gather

    async def short(*given: Any, **more: Any) -> Any:
        claims.append(len(renewed))
        lease = await claim(*given, **more)
        return lease and lease.model_copy(update={"seconds": 0.06})

    async def slow(*given: Any, **more: Any) -> Any:
        try:
            while len(renewed) < 40:
                await asyncio.sleep(0.01)
        finally:
            ended.append(len(renewed))
        return await gather(*given, **more)

    monkeypatch.setattr(world.cases, "renew", renew, raising=False)
    monkeypatch.setattr(world.cases, "claim", short)
    monkeypatch.setattr(world.facts, "gather", slow)
    world.fire(alert())
    await until(worker_of(world), lambda: ended)
    assert ended == [40]
    assert not [count for count in claims if 0 < count <= 30], "its own case was not held longer before it claimed"
