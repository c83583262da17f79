"""Who plans: the chain that the settings describe, one tier of it alone, or the rules.

Decides which keys are read and when: only here, only for tiers that are really asked, each time anew, so that a
rotated key works. A person who tries a model without any settings gets the usual two by the variable that holds the
key. Refuses a tier that is not there, naming those there are.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from receiver.adapters.planner.alone import OwnPurse, TierAlone
from receiver.adapters.planner.models import RealModel, read_key
from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.planner.settings import TierSettings
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.config import Settings, check_secret
from receiver.errors import Refused
from receiver.ports import Planner, Purse
from receiver.starter import content

RULES, CHAIN = "rules", "chain"
#: https://docs.claude.com/en/api/client-sdks: as its own clients call them
_KEY, _BASE_URL = "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"


def tiers_of(settings: Settings, purse: Purse) -> TieredPlanner | None:
    """Models before the rules; None without any tier: then the rules decide alone, and no client is loaded."""
    planner = settings.planner
    if not planner.names:
        return None
    models = {
        name: RealModel(planner.tiers[name], planner.model_of(name), _key_reader(settings, name))
        for name in planner.names
    }
    shipped = {
        path.removeprefix("prompts/"): data.decode() for path, data in content().items() if path.startswith("prompts/")
    }
    return TieredPlanner(planner, models, RulesPlanner(), purse, shipped)


@asynccontextmanager
async def open_planner(settings: Settings, tier: str = RULES) -> AsyncIterator[Planner]:
    """For questions that no case asks: `rules`, `chain`, or a tier by its name; its costs are counted by itself."""
    settings = with_usual_tiers(settings, os.environ)
    tiered = tiers_of(settings, OwnPurse()) if tier != RULES else None
    known = settings.planner.names
    if tier != RULES and (tiered is None or tier not in (CHAIN, *known)):
        raise Refused(
            f"planning with tier {tier[:60]!r}: the settings have {', '.join(known) or 'no model'}",
            next_step=f"--tier {RULES}; or set [planner.tiers] in gitmedic.toml, or {_KEY} for fast and strong",
            reason="invalid",
        )
    if tiered is None:
        yield RulesPlanner()
        return
    try:
        await tiered.ready()
        yield tiered if tier == CHAIN else TierAlone(tiered, tier)
    finally:
        await tiered.aclose()


def with_usual_tiers(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """The same settings; without any tier of their own, `fast` and `strong` when the environment has a key."""
    if settings.planner.names or not environment.get(_KEY):
        return settings
    usual = TierSettings(kind="anthropic", key_env=_KEY, base_url=environment.get(_BASE_URL, ""))
    planner = settings.planner.model_copy(update={"tiers": {"fast": usual, "strong": usual}})
    return settings.model_copy(update={"planner": planner})


def _key_reader(settings: Settings, name: str) -> Callable[[], str]:
    return lambda: read_key(
        settings.planner.tiers[name], lambda path: check_secret(path, what=f"the key of tier {name!r}")
    )
