"""What every Memory promises: verified cases only, each once, the nearest first; and what every Embedder does."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from receiver.adapters.embedder.openai import OpenAIEmbedder
from receiver.adapters.embedder.settings import EmbedderSettings
from receiver.adapters.store.memory import PostgresMemory
from receiver.adapters.store.pool import open_pool
from receiver.domain.alert import Alert
from receiver.domain.case import Closed
from receiver.domain.entity import Entity
from receiver.domain.memory import Precedent
from receiver.domain.outcome import Outcome
from receiver.domain.plan import Plan
from receiver.domain.run import RunResult
from receiver.errors import Unavailable
from receiver.identity import new_id
from receiver.ports import Embedder, Memory
from receiver.testing.clock import FakeClock
from receiver.testing.memory import FakeEmbedder, FakeMemory
from tests.embedding import Endpoint, endpoint

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, tzinfo=UTC)
WEB1 = Entity(kind="host", name="web1", host="web1", site="home")


def alert(name: str, **labels: str) -> Alert:
    return Alert(
        source="prom", fingerprint="0" * 16, starts_at=NOW, status="firing", labels={"alertname": name, **labels}
    )


def closed(
    name: str, outcome: Outcome = Outcome.FIXED, *, playbook: str = "disk_cleanup", entity: Entity = WEB1
) -> Closed:
    result = RunResult(status="successful", started_at=NOW, ended_at=NOW + timedelta(seconds=42))
    plan = Plan(action="playbook", playbook=playbook, params={"host": "web1"}, why="fits")
    return Closed(
        id=new_id(), opened_at=NOW, alert=alert(name), entity=entity, plan=plan, outcome=outcome, why="said",
        reason=str(outcome), result=result,
    )  # fmt: skip


async def postgres(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Memory:
    return PostgresMemory(await stack.enter_async_context(open_pool(request.getfixturevalue("database"))))


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Memory:
    return FakeMemory(FakeClock())


MAKERS: list[Callable[[pytest.FixtureRequest, AsyncExitStack], Awaitable[Memory]]] = [postgres, fake]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def memory(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Memory]:
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


async def recalled(memory: Memory, name: str = "HostDiskFull") -> list[Precedent]:
    return await memory.recall(alert(name), WEB1)


async def test_nothing_is_near_when_nothing_was_closed(memory: Memory) -> None:
    assert await recalled(memory) == []


async def test_what_became_of_a_case_is_recalled_once(memory: Memory) -> None:
    case = closed("HostDiskFull")
    await memory.remember(case)
    await memory.remember(case)
    (found,) = await recalled(memory)
    assert (found.id, found.kind, found.alertname, found.entity) == (case.id, "case", "HostDiskFull", "web1")
    assert (found.playbook, found.outcome) == ("disk_cleanup", "fixed")
    assert found.score > 0 and "42 s" in found.text


async def test_only_verified_cases_are_recalled(memory: Memory) -> None:
    for outcome in Outcome:
        await memory.remember(closed("HostDiskFull", outcome))
    assert {one.outcome for one in await recalled(memory)} == {"fixed", "not_fixed"}


async def test_the_same_name_comes_before_a_related_one_and_others_not_at_all(memory: Memory) -> None:
    far = Entity(kind="host", name="nas", host="nas", site="home")
    for name in ("HostDiskFull", "HostDiskFailing", "CertificateExpired"):
        await memory.remember(closed(name, entity=far, playbook="playbook"))
    assert [one.alertname for one in await recalled(memory)] == ["HostDiskFull", "HostDiskFailing"]


async def test_a_failure_has_a_seat_however_many_fixes_are_nearer(memory: Memory) -> None:
    failed = closed("HostDiskFull", Outcome.NOT_FIXED)
    await memory.remember(failed)
    for _ in range(8):
        await memory.remember(closed("HostDiskFull"))
    found = await recalled(memory)
    assert len(found) == 5
    assert [one.id for one in found if one.outcome == "not_fixed"] == [failed.id]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.parametrize("name", ["", "'; DROP TABLE memory; --", "!!! & | :*", "\u0000", "ä" * 300, "a b " * 900])
async def test_no_name_makes_it_raise(memory: Memory, name: str) -> None:
    await memory.remember(closed(name))
    await memory.remember(closed("HostDiskFull"))
    assert await memory.recall(alert(name), None) is not None
    assert await recalled(memory)


# --- Embedder


@pytest.fixture(params=["http", "fake"])
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Embedder, Callable[[], None]]]:
    """An embedder, and what makes it go away."""
    if request.param == "fake":
        made = FakeEmbedder()
        yield made, lambda: setattr(made, "is_down", True)
        return
    async with endpoint() as served:
        real = OpenAIEmbedder(EmbedderSettings(base_url=served.url, model="fake", batch=2, timeout_seconds=2))
        yield real, lambda: setattr(served, "answer", Endpoint.broken)
        await real.aclose()


async def test_one_vector_of_length_one_each_in_order(embedder: tuple[Embedder, Callable[[], None]]) -> None:
    asked, _ = embedder
    texts = ["disk full", "certificate expired", "disk full", "", "ä" * 2000]
    found = await asked.embed(texts, query=False)
    assert len(found) == 5 and len({len(one) for one in found}) == 1
    assert all(math.isclose(math.hypot(*one), 1, rel_tol=1e-6) for one in found)
    assert found[0] == found[2] != found[1]
    assert asked.model == "fake" and await asked.embed([], query=True) == []


async def test_one_that_is_away_says_so(embedder: tuple[Embedder, Callable[[], None]]) -> None:
    asked, leave = embedder
    leave()
    with pytest.raises(Unavailable):
        await asked.embed(["disk full"], query=True)
