"""The past argues: a fix that failed twice is not proposed a third time, in the real pipeline."""

from __future__ import annotations

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Verdict
from receiver.testing import World
from tests.unit.test_pipeline import FILES, alert, closed, proposed

pytestmark = pytest.mark.anyio
REST_SECONDS = 400


async def not_fixed(world: World, times: int) -> None:
    """The same alert on the same host, each time run in vain, then some rest."""
    for _ in range(times):
        case = await proposed(world)
        world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.STILL_FIRING)
        await world.merge(case, "anna")
        assert (await closed(world, case)).outcome is Outcome.NOT_FIXED
        world.clock.pass_seconds(REST_SECONDS)


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


async def test_the_same_fix_is_not_proposed_a_third_time(world: World) -> None:
    await not_fixed(world, 2)
    id = world.fire(alert())
    await world.settle()
    case = world.case(id)
    assert isinstance(case, Closed) and case.plan is not None
    assert (case.outcome, case.plan.action) == (Outcome.NOTIFIED, "notify")
    assert case.why.startswith("failed_before: ") and case.plan.evidence == ("h1",)
    [told] = [fact for fact in case.facts if fact.kind == "history.failed"]
    assert (told.value, told.note, told.trusted) == (2, "web_restart", True)


async def test_one_failure_or_another_host_or_another_day_is_no_reason(world: World) -> None:
    await not_fixed(world, 1)
    await not_fixed(world, 1)
    other = world.fire(alert(instance="web2"))
    await world.settle()
    assert world.case(other).kind == "proposed"
    world.clock.pass_seconds(86400)
    await world.settle()
    assert await proposed(world)
