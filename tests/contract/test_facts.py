"""What every gathering of facts promises: typed, named once, trusted only by who may say it, never silent on a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.adapters.facts.gather import GatherFacts
from receiver.adapters.proof.settings import SourceSettings
from receiver.adapters.proof.sources import Sources
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import Host, Inventory
from receiver.office import SystemClock
from receiver.ports import Facts
from receiver.testing.clock import FakeClock
from receiver.testing.outside import FakeFacts

pytestmark = pytest.mark.anyio
ENTITY = Entity(kind="host", name="web1", host="web1", site="home")
SOURCES = [
    SourceSettings(name="webhook", kind="webhook"),
    SourceSettings(name="gone", url="http://127.0.0.1:1", jobs={"demo": "self"}),
]


class Place:
    """One way to gather, from a source that answers or does not."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    async def gather(
        self, *, source: str = "webhook", entity: Entity | None = ENTITY, stated: Any = None, **labels: str
    ) -> list[Fact]:
        alert = Alert(
            source=source, fingerprint="0" * 16, starts_at=datetime.now(UTC), status="firing",
            labels={"alertname": "Down", "instance": "web1"} | labels,
        )  # fmt: skip
        variables = {} if stated is None else {"gitmedic_facts": stated}
        return await self.facts.gather(alert, entity, Inventory(hosts={"web1": Host(name="web1", variables=variables)}))


class FakePlace(Place):
    """The fake is told that it cannot read something."""

    facts: FakeFacts

    async def gather(self, *, source: str = "webhook", **more: Any) -> list[Fact]:
        self.facts.unread = "nobody answers" if source == "gone" else None
        return await super().gather(source=source, **more)


async def gathered(stack: AsyncExitStack) -> Place:
    sources = Sources(SOURCES, SystemClock())
    stack.push_async_callback(sources.aclose)
    return Place(GatherFacts(sources, SystemClock()))


async def fake(stack: AsyncExitStack) -> Place:
    return FakePlace(FakeFacts(FakeClock()))


MAKERS: list[Callable[[AsyncExitStack], Any]] = [gathered, fake]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield await request.param(stack)


async def test_the_host_is_a_trusted_fact(place: Place) -> None:
    (host,) = [fact for fact in await place.gather() if fact.kind == "host"]
    assert (host.value, host.source, host.trusted) == ("web1", "inventory", True)
    assert host.taken_at.utcoffset() is not None
    assert [fact for fact in await place.gather(entity=None) if fact.kind == "host"] == []


async def test_each_fact_has_a_name_of_its_own_and_keeps_it(place: Place) -> None:
    stated = {"service": ["web", "api"], "disk": 7, "raid": True}
    facts = await place.gather(stated=stated)
    assert len({fact.id for fact in facts}) == len(facts)
    again = await place.gather(stated=stated)
    assert [(one.id, one.kind, one.value) for one in facts] == [(one.id, one.kind, one.value) for one in again]


async def test_what_the_inventory_states_is_one_fact_for_each_value(place: Place) -> None:
    facts = await place.gather(stated={"service": ["web", "api"], "disk": 7})
    found = [(fact.kind, fact.value, fact.trusted) for fact in facts if fact.kind in ("service", "disk")]
    assert sorted(found, key=str) == [("disk", 7, True), ("service", "api", True), ("service", "web", True)]


@pytest.mark.parametrize("stated", ["text", ["a", "list"], 7])
async def test_a_statement_that_is_no_mapping_states_nothing(place: Place, stated: Any) -> None:
    facts = await place.gather(stated=stated)
    assert [fact.kind for fact in facts if fact.trusted and not fact.kind.startswith("host")] == []


async def test_a_label_is_never_trusted(place: Place) -> None:
    facts = await place.gather(host="evil", service="evil")
    assert [fact for fact in facts if fact.value == "evil" and fact.trusted] == []


async def test_what_cannot_be_read_is_said(place: Place) -> None:
    assert [fact for fact in await place.gather() if fact.kind == "unread"] == []
    facts = await place.gather(source="gone")
    unread = [fact for fact in facts if fact.kind == "unread"]
    assert unread and all(fact.value for fact in unread)
    assert any(fact.kind == "host" for fact in facts)
