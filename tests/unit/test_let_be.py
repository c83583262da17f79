"""A critical alert that is let be: nothing runs, and a person hears of it (rule S18)."""

from __future__ import annotations

import pytest

from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome
from receiver.domain.plan import Attempt, Plan
from receiver.domain.question import Question
from receiver.testing import World
from tests.unit.test_pipeline import FILES, alert

pytestmark = pytest.mark.anyio


class Letting:
    """A planner that always says: nothing to do."""

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        why = "it passes by itself"
        return Plan(action="none", why=why), [Attempt(tier="fake", verdict="accepted", why=why)]


@pytest.mark.parametrize(("severity", "told"), [("critical", 1), ("warning", 0)])
async def test_who_lets_a_critical_alert_be_is_told(severity: str, told: int) -> None:
    world = World(FILES, Letting())
    case = world.fire(alert(severity=severity))
    await world.settle()
    found = world.case(case)
    assert isinstance(found, Closed) and found.outcome is Outcome.NOTHING_TO_DO
    assert len(world.notifier.told) == told and world.runner.jobs == []
