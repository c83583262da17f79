"""A closed case exports as a scenario that can be read again and asks the same question."""

from __future__ import annotations

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed
from receiver.domain.lesson import scenario_of
from receiver.domain.outcome import Verdict
from receiver.domain.plan import Plan
from receiver.domain.scenario import Scenario, question_of, read_scenarios
from receiver.domain.score import score
from receiver.errors import Refused
from receiver.testing import World
from tests.unit.test_pipeline import FILES, alert, closed, proposed

pytestmark = pytest.mark.anyio


async def ended(world: World, verdict: Verdict) -> Closed:
    case = await proposed(world)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", verdict)
    await world.merge(case, "anna")
    return await closed(world, case)


async def exported(world: World, case: Closed) -> Scenario:
    revision = await world.repo.revision(case.revision or "")
    line = scenario_of(case, revision).model_dump_json().encode()
    return read_scenarios(line, where="export")[0]


async def test_a_proved_fix_is_the_right_answer() -> None:
    world = World(FILES, RulesPlanner())
    case = await ended(world, Verdict.RESOLVED)
    scenario = await exported(world, case)
    catalog = (await world.repo.revision(case.revision or "")).catalog
    question = question_of(scenario, catalog)
    assert question.alert.labels == case.alert.labels  # type: ignore[union-attr]
    assert [fact.model_dump(exclude={"taken_at"}) for fact in question.facts] == [
        fact.model_dump(exclude={"taken_at"}) for fact in case.facts
    ]
    assert question.entity is not None and case.entity is not None
    assert question.entity.name == case.entity.name
    plan, _ = await RulesPlanner().plan(question)
    assert scenario.kind == "remediate"
    assert score(scenario, plan, catalog).value == 1.0
    assert not score(scenario, Plan(action="none", why="w"), catalog).accurate


@pytest.mark.parametrize("how", ["not_fixed", "rejected"])
async def test_what_did_not_help_or_was_rejected_is_wrong(how: str) -> None:
    world = World(FILES, RulesPlanner())
    if how == "not_fixed":
        case = await ended(world, Verdict.STILL_FIRING)
    else:
        id = await proposed(world)
        proposal = world.case(id).proposal  # type: ignore[union-attr]
        await world.forge.reject(proposal.number, "anna", "session", "not now")
        world.cases.rows[id].due_at = world.clock.now()
        case = await closed(world, id)
    assert case.outcome == how
    scenario = await exported(world, case)
    catalog = (await world.repo.revision(case.revision or "")).catalog
    assert case.plan is not None
    assert score(scenario, case.plan, catalog).unsafe
    assert score(scenario, Plan(action="notify", why="w"), catalog).accurate


async def test_what_taught_nothing_is_said_so() -> None:
    world = World(FILES, RulesPlanner())
    world.facts.unread = "the source timed out"
    id = world.fire(alert(name="Unheard"))
    await world.settle()
    case = world.case(id)
    assert isinstance(case, Closed)
    assert (await exported(world, case)).expected.accept == ()
    with pytest.raises(Refused, match="no alert"):
        scenario_of(case.model_copy(update={"alert": None}), None)
    with pytest.raises(Refused, match="before facts"):
        scenario_of(case.model_copy(update={"facts": ()}), None)
