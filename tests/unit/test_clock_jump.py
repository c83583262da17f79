"""An executor whose clock jumps by an hour: its run ends when it ends, and the proof is not waited for until then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.run import RunResult
from receiver.testing import World
from tests.unit.test_pipeline import FILES, closed, proposed


@pytest.mark.anyio
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
async def test_the_end_of_a_run_is_told_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    world = World(FILES, RulesPlanner())
    case = await proposed(world)
    run = world.runner.run

    async def jumped(*given: Any, **named: Any) -> RunResult:
        result = await run(*given, **named)
        return result.model_copy(update={"ended_at": result.ended_at + jump})

    monkeypatch.setattr(world.runner, "run", jumped)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    begun = world.clock.now()
    await world.merge(case, "anna")
    end = await closed(world, case)
    assert isinstance(end, Closed) and end.outcome is Outcome.FIXED and end.result is not None
    assert begun <= end.result.ended_at <= world.clock.now() < begun + timedelta(minutes=10)
