"""What planning takes beside the model's own time: candidates, prompt, request, answer, binding, purse."""

from __future__ import annotations

import statistics
import time

import pytest

from receiver.adapters.planner.model import Asked, Heard
from receiver.adapters.planner.settings import PlannerSettings
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.domain.playbook import Handle
from receiver.domain.question import Question
from receiver.testing.clock import FakeClock
from receiver.testing.purse import FakePurse
from tests.integration.planner.asking import KNOWN, SHIPPED, Rules, asking
from tests.integration.planner.scripted import answer
from tests.unit.domain.planning import CATALOG, FACTS, GOOD, fact, kind, playbook, question

pytestmark = pytest.mark.anyio
MOST_SECONDS = 0.05
ROUNDS = 60


def usual(number: int) -> Question:
    """60 playbooks, 30 facts, a log: what a homelab's case looks like."""
    kinds = ("service", "mountpoint", "database", "container")
    texts = {"use_when": "the service is stopped or wedged and its disk is healthy " * 2, "not_when": "on purpose " * 3}
    catalog = tuple(playbook(f"thing_{n:02}", x=kind(kinds[n % 4])).model_copy(update=texts) for n in range(57))
    facts = tuple(fact(f"g{n}", kinds[n % 4], f"value-{number}-{n}") for n in range(24))
    own = CATALOG[0].model_copy(update={"handles": (Handle(match='alertname="ContainerDown"'),)})
    log = fact("log1", "log", "connection refused by upstream\n" * 400, trusted=False)
    return question(*FACTS, *facts, log, catalog=(own, CATALOG[1], *catalog), memories=KNOWN, case=f"c{number}")


class Instant:
    """A model that takes no time."""

    name = "instant"

    async def ready(self) -> None:
        return None

    async def ask(self, asked: Asked) -> Heard:
        import json

        return Heard(text=json.dumps(GOOD), tokens_in=3000, tokens_out=300)

    def price(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
        return 0.0

    async def aclose(self) -> None:
        return None


def p95(found: list[float]) -> float:
    return statistics.quantiles(found, n=20)[-1]


async def test_our_own_part() -> None:
    plain = {"l": {"kind": "local", "base_url": "http://127.0.0.1:9/v1", "model": "m"}}
    settings = PlannerSettings.model_validate({"tiers": plain})
    planner = TieredPlanner(settings, {"l": Instant()}, Rules(), FakePurse(FakeClock()), SHIPPED)
    found = []
    for number in range(ROUNDS):
        asked = usual(number)
        began = time.process_time()
        plan, _ = await planner.plan(asked)
        found.append(time.process_time() - began)
        assert plan.playbook == "docker_restart"
    assert p95(found) < MOST_SECONDS, f"p95 {p95(found) * 1000:.1f} ms"


async def test_with_the_real_client_and_a_server_on_loopback() -> None:
    """The client's part and the scripted server's are in it: both run in this process."""
    async with asking({"fast": answer(**GOOD)}, budget={"usd_per_day": 99}) as asked:
        await asked.plan(usual(ROUNDS))
        found = []
        for number in range(ROUNDS):
            mine = usual(number)
            began = time.process_time()
            await asked.plan(mine)
            found.append(time.process_time() - began)
    assert p95(found) < MOST_SECONDS, f"p95 {p95(found) * 1000:.1f} ms"
