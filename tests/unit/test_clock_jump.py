"""An executor whose clock jumps by an hour: its run ends when it ends, and the proof is not waited for until then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.run import RunResult
from receiver.testing import World
from tests.unit.test_hosts_one_by_one import ended, merged
from tests.unit.test_hosts_one_by_one import world as several
from tests.unit.test_pipeline import FILES, closed, proposed

__all__ = ["several"]


pytestmark = pytest.mark.anyio
JUMPS = pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])


def jumps(world: World, jump: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor's clock is wrong by so much."""
    run = world.runner.run

    async def jumped(*given: Any, **named: Any) -> RunResult:
        result = await run(*given, **named)
        return result.model_copy(update={"ended_at": result.ended_at + jump})

    monkeypatch.setattr(world.runner, "run", jumped)


@JUMPS
async def test_the_end_of_a_run_is_told_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    world = World(FILES, RulesPlanner())
    case = await proposed(world)
    jumps(world, jump, monkeypatch)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    begun = world.clock.now()
    await world.merge(case, "anna")
    end = await closed(world, case)
    assert isinstance(end, Closed) and end.outcome is Outcome.FIXED and end.result is not None
    assert begun <= end.result.ended_at <= world.clock.now() < begun + timedelta(minutes=10)


@JUMPS
async def test_the_proof_between_two_hosts_is_newer_than_the_first(
    several: World, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """A sample from before a host was touched proves nothing of it, and one from after it is not waited for in vain."""
    case, asked = await merged(several), []
    check = several.proof.check

    async def noted(*given: Any, newer_than: datetime | None, **named: Any) -> Any:
        asked.append((several.clock.now(), newer_than))
        return await check(*given, newer_than=newer_than, **named)

    jumps(several, jump, monkeypatch)
    monkeypatch.setattr(several.proof, "check", noted)
    assert (await ended(several, case)).outcome is Outcome.FIXED
    assert len(asked) >= 2
    assert all(newer is not None and timedelta(0) <= now - newer < timedelta(minutes=10) for now, newer in asked)
