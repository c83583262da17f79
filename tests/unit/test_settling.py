"""Quiet, and not seen for long enough: the case goes on settling, however late its planner came."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.proof.probe import ProbeProof
from receiver.adapters.proof.settings import SourceSettings
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.proof import Baseline, Reading
from receiver.domain.verdict import Row
from receiver.testing import World
from receiver.testing.clock import FakeClock
from tests.unit.test_pipeline import FILES, alert, closed, proposed


@pytest.mark.anyio
@pytest.mark.parametrize(("settling", "outcome"), [(True, Outcome.FIXED), (False, Outcome.NOT_FIXED)])
async def test_what_settles_is_no_last_word(monkeypatch: pytest.MonkeyPatch, settling: bool, outcome: Outcome) -> None:
    world = World(FILES, RulesPlanner())
    case = await proposed(world)
    read, looks = world.proof.read, []

    async def counted(*given: Any, held_seconds: float = 0, **more: Any) -> Reading:
        reading = await read(*given, held_seconds=held_seconds, **more)
        looks.append(held_seconds)
        # two seconds more than anybody hopes
        if held_seconds and len(looks) < 12:
            return reading.model_copy(update={"verdict": Verdict.STILL_FIRING, "settling": settling})
        return reading

    monkeypatch.setattr(world.proof, "read", counted)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is outcome


@pytest.mark.anyio
async def test_a_probe_that_begins_to_look_says_that_it_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    probe = ProbeProof(SourceSettings(name="p", kind="probe", url="http://127.0.0.1:1/metrics"), clock)

    async def page() -> list[tuple[str, Row]]:
        return [("demo", Row(labels={"instance": "web1"}, value=0.0))]

    monkeypatch.setattr(probe, "page", page)
    look, ended = alert(), clock.now()
    clock.pass_seconds(3600)  # it was away for long
    first = await probe.read(look, Baseline(expression="demo == 1"), newer_than=ended, held_seconds=2)
    assert (first.verdict, first.settling) == (Verdict.STILL_FIRING, True)
    clock.pass_seconds(2)
    second = await probe.read(look, Baseline(expression="demo == 1"), newer_than=ended, held_seconds=2)
    assert (second.verdict, second.settling) == (Verdict.RESOLVED, False)
    await probe.aclose()
