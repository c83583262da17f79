"""Promise P3 over fakes: every gap between the approval and the end, and what a person may still say in it."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import stepping
from receiver.domain.case import Approved, Closed
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.run import RunResult
from receiver.errors import Conflict, Unavailable
from receiver.testing import World
from receiver.testing.people import FakeDesk
from tests.unit.test_pipeline import closed, proposed, world

__all__ = ["world"]
pytestmark = pytest.mark.anyio


async def waiting(world: World) -> tuple[str, str]:
    """An approved case that waits for its lock, and its run."""
    case = await proposed(world)
    await world.locks.take("other", "other", ["host:web1"])
    await world.merge(case, "anna")
    await world.settle()
    approved = world.case(case)
    assert isinstance(approved, Approved)
    return case, approved.runfile.run


def real(world: World) -> int:
    """How many processes of the run itself there were."""
    return [job.mode for job in world.runner.jobs].count("run")


async def test_a_queued_run_is_called_off_and_leaves_no_place(world: World) -> None:
    case, run = await waiting(world)
    assert list(world.locks.queue) == [run]
    assert await FakeDesk(world.clock, world.cases, world.runs).cancel(run, "user:anna")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.CANCELLED, "called_off") and "user:anna" in end.why
    assert real(world) == 0 and world.locks.queue == {} and run not in world.repo.claims


@pytest.mark.parametrize("what", ["called off", "paused", "silent"])
async def test_the_last_look_is_just_before_the_claim(world: World, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    case, run = await waiting(world)
    files = world.repo.files

    async def while_it_looks(*given: Any) -> Any:
        # everything was asked and answered; now somebody's hand falls on the brake
        if what == "called off":
            world.runs.off[run] = "user:anna"
        elif what == "paused":
            world.ledger.why_paused = "paused: holiday"
        else:
            monkeypatch.setattr(world.ledger, "paused", away)
        return await files(*given)

    async def away() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(world.repo, "files", while_it_looks)
    await world.locks.free("other")
    await world.settle()
    found = world.case(case)
    assert real(world) == 0 and run not in world.repo.claims
    assert (found.kind == "ended" or isinstance(found, Closed)) is (what == "called off")


async def test_a_database_that_is_away_between_claim_and_beginning_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, _ = await waiting(world)
    begin, tries = world.runs.begin, []

    async def answer_lost(*given: Any, **more: Any) -> str:
        tries.append(given)
        if len(tries) == 1:
            raise Unavailable("the database does not answer")
        if len(tries) == 2:
            await begin(*given, **more)  # it was recorded, and nobody heard of it
            raise Unavailable("the database does not answer")
        return await begin(*given, **more)

    monkeypatch.setattr(stepping, "PATIENCE", (0.0,) * 5)
    monkeypatch.setattr(world.runs, "begin", answer_lost)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    await world.locks.free("other")
    assert (await closed(world, case)).outcome is Outcome.FIXED
    assert real(world) == 1 and len(tries) == 3


async def test_a_beginning_by_somebody_else_is_not_taken_for_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, _ = await waiting(world)

    async def taken(*given: Any, **more: Any) -> str:
        raise Conflict("it was begun before")

    monkeypatch.setattr(world.runs, "begin", taken)
    await world.locks.free("other")
    assert (await closed(world, case)).outcome is Outcome.INTERRUPTED and real(world) == 0


async def test_claimed_and_never_begun_is_never_begun(world: World) -> None:
    """Also not by the very instance that claimed it: a restored database may have lost the beginning."""
    case, run = await waiting(world)
    assert await world.repo.claim(run, "test", "n" * 32)
    await world.locks.free("other")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.INTERRUPTED, "claim") and real(world) == 0
    assert "no beginning of it is recorded here" in end.why


async def test_begun_without_a_step_touched_nothing(world: World) -> None:
    case, run = await waiting(world)
    await world.runs.begin(run, case, "run", "test")
    end = await closed(world, case)
    assert end.outcome is Outcome.INTERRUPTED and "nothing was touched" in end.why and real(world) == 0


async def test_what_another_executor_began_keeps_its_locks_while_it_may_be_at_work(world: World) -> None:
    """One that is cut off alone goes on with its run; nothing else may change its host meanwhile (P8)."""
    case, run = await waiting(world)
    await world.locks.free("other")
    await world.locks.take(run, case, ["host:web1"])
    await world.runs.begin_step(run, 0, await world.runs.begin(run, case, "run", "far away"), ["web1"])
    await world.settle_for(120)
    assert isinstance(world.case(case), Approved), world.case(case)
    assert await world.locks.take("another", "another", ["host:web1"]) is not None
    await world.settle_for(120)
    end = await closed(world, case)
    assert end.outcome is Outcome.INTERRUPTED and real(world) == 0
    assert await world.locks.take("another", "another", ["host:web1"]) is None


async def test_what_another_process_here_has_in_hand_is_not_given_up(world: World) -> None:
    """Two executors of one data directory: that one of them is cut off says nothing about its run."""
    case, run = await waiting(world)
    await world.locks.free("other")
    await world.locks.take(run, case, ["host:web1"])
    world.runner.at_work.add(run)
    await world.runs.begin_step(run, 0, await world.runs.begin(run, case, "run", "test"), ["web1"])
    await world.settle_for(60)
    assert isinstance(world.case(case), Approved), world.case(case)
    assert await world.locks.take("another", "another", ["host:web1"]) is not None
    world.runner.at_work.discard(run)
    end = await closed(world, case)
    assert end.outcome is Outcome.INTERRUPTED and real(world) == 0


async def test_it_ends_as_its_own_executor_says_when_that_is_heard_in_time(world: World) -> None:
    case, run = await waiting(world)
    await world.locks.free("other")
    attempt = await world.runs.begin(run, case, "run", "far away")
    await world.runs.begin_step(run, 0, attempt, ["web1"])
    await world.settle_for(30)
    now = world.clock.now()
    result = RunResult(status="failed", why="web1: it said no", started_at=now, ended_at=now)
    await world.runs.end_step(run, 0, result)
    await world.runs.finish(attempt, result)
    await world.settle_for(160)
    end = await closed(world, case)
    assert end.outcome is Outcome.FAILED and "it said no" in end.why and real(world) == 0
