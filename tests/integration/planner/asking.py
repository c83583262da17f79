"""A tiered planner over scripted servers, with the real clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from receiver.adapters.planner.models import RealModel
from receiver.adapters.planner.settings import PlannerSettings
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.domain.memory import Precedent
from receiver.domain.plan import Attempt, Plan
from receiver.domain.question import Question
from receiver.testing.clock import FakeClock
from receiver.testing.purse import FakePurse
from tests.integration.planner.scripted import Script, Server, server
from tests.unit.domain.planning import GOOD, NOW

SHIPPED = {"plan.j2": (Path(__file__).parents[3] / "prompts" / "plan.j2").read_text()}
KINDS = {"local": "local", "fast": "anthropic", "strong": "anthropic", "openai": "openai", "azure": "azure"}
PRICE = {"input_usd": 1, "output_usd": 2}
#: so that the light tier is asked first: the alert is known
KNOWN = (Precedent(id="m1", kind="case", at=NOW, text="closed", alertname="ContainerDown", outcome="not_fixed"),)


class Rules:
    """The rules, saying what a test wants them to say."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.said = plan

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        plan = self.said or Plan(action="notify", why="no rule speaks of it")
        verdict: Any = "accepted" if self.said else "moved_on"
        return plan, [Attempt(tier="rules", verdict=verdict, why=plan.why)]


class Asking:
    """The planner, its servers by tier, and its purse."""

    def __init__(
        self, planner: TieredPlanner, servers: dict[str, Server], purse: FakePurse, keys: dict[str, str]
    ) -> None:
        self.planner, self.servers, self.purse, self.keys = planner, servers, purse, keys

    def asked(self) -> dict[str, int]:
        """How many requests reached each tier."""
        return {name: len(one.requests) for name, one in self.servers.items()}

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        return await self.planner.plan(question)


@asynccontextmanager
async def asking(
    tiers: dict[str, Script | Sequence[Script]],
    *,
    rules: Plan | None = None,
    tier: dict[str, Any] | None = None,
    **said: Any,
) -> AsyncIterator[Asking]:
    """A server for each tier; `tier` changes all of them, `said` the planner's own settings."""
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        plain: dict[str, Any] = {}
        keys: dict[str, str] = {}
        for name, scripts in tiers.items():
            listed = scripts if isinstance(scripts, Sequence) else [scripts]
            servers[name] = await stack.enter_async_context(server(*listed))
            kind = KINDS[name]
            plain[name] = {
                "kind": kind, "base_url": servers[name].url + ("/v1" if kind in ("local", "openai") else ""),
                "key_env": f"KEY_{name}", "deadline_seconds": 5, **(tier or {}),
                **({} if kind == "anthropic" else {"model": f"model-{name}", "price": PRICE}),
            }  # fmt: skip
            if kind == "local":
                del plain[name]["price"]
            keys[name] = f"key-{name}"
        settings = PlannerSettings.model_validate({"tiers": plain, "storm_seconds": 0, **said})
        models = {
            name: RealModel(settings.tiers[name], settings.model_of(name), lambda name=name: keys[name])
            for name in plain
        }
        purse = FakePurse(FakeClock())
        planner = TieredPlanner(settings, models, Rules(rules), purse, SHIPPED)
        stack.push_async_callback(planner.aclose)
        yield Asking(planner, servers, purse, keys)


def good(**changed: Any) -> dict[str, Any]:
    return {**GOOD, **changed}
