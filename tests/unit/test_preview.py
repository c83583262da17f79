"""What would be decided, without a case: the same way, and nothing is left behind."""

from __future__ import annotations

import json

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.history import Past
from receiver.domain.lesson import payload_of
from receiver.errors import Invalid
from receiver.preview import Preview, Previewer
from receiver.testing import World
from tests.unit.test_pipeline import FILES, alert

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


async def previewed(world: World, one: Alert, past: Past | None = None) -> Preview:
    async def recall(asked: Alert, entity: Entity | None) -> Past:
        return past or Past()

    revision = await world.repo.revision(await world.repo.adopted())
    previewer = Previewer(facts=world.facts, proof=world.proof, planner=RulesPlanner(), clock=world.clock)
    body = json.dumps(payload_of(one)).encode()
    [found] = await previewer.payload(body, source="prom", revision=revision, recall=recall)
    assert (world.cases.rows, world.ledger.slots, world.runner.jobs, world.forge.pulls) == ({}, {}, [], {})
    return found


async def test_what_would_be_proposed(world: World) -> None:
    found = await previewed(world, alert())
    assert found.verdict == "web_restart would be rehearsed and proposed"
    assert found.plan.params == {"host": "web1", "service": "web"}
    assert found.entity is not None and found.entity.name == "web1"
    assert all(answer.passed is not False for answer in found.guard)
    world.fire(alert())
    await world.settle()
    [row] = world.cases.rows.values()
    assert row.case.plan == found.plan  # type: ignore[union-attr]


async def test_what_the_guard_would_hold_back(world: World) -> None:
    world.proof.confirmed = False
    assert "held back by confirmed" in (await previewed(world, alert())).verdict


@pytest.mark.parametrize(
    ("given", "past", "verdict"),
    [
        (alert(instance="unknown"), None, "notify: "),
        (alert(name="Watchdog"), None, "it would open no case: benign"),
        (alert().model_copy(update={"status": "resolved"}), None, "it would open no case: resolved_first"),
        (alert(), Past(failed={"web_restart": 2}), "notify: failed_before"),
    ],
)
async def test_why_nothing_would_happen(world: World, given: Alert, past: Past | None, verdict: str) -> None:
    assert (await previewed(world, given, past)).verdict.startswith(verdict)


async def test_what_is_no_payload_is_refused(world: World) -> None:
    async def recall(asked: Alert, entity: Entity | None) -> Past:
        return Past()

    revision = await world.repo.revision(await world.repo.adopted())
    previewer = Previewer(facts=world.facts, proof=world.proof, planner=RulesPlanner(), clock=world.clock)
    with pytest.raises(Invalid, match="not JSON"):
        await previewer.payload(b"{", source="prom", revision=revision, recall=recall)
    with pytest.raises(Invalid, match="no alert in it"):
        await previewer.payload(b'{"alerts": []}', source="prom", revision=revision, recall=recall)
