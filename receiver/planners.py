"""Who plans: the chain that the settings describe, one tier of it alone, or the rules.

Decides which keys are read and when: only here, only for tiers that are really asked, each time anew, so that a
rotated key works. Refuses a tier that the settings do not have, naming those there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from receiver.adapters.planner.alone import OwnPurse, TierAlone
from receiver.adapters.planner.models import RealModel, read_key
from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.config import Settings, check_secret
from receiver.errors import Refused
from receiver.ports import Planner, Purse
from receiver.starter import content

RULES, CHAIN = "rules", "chain"


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
    tiered = tiers_of(settings, OwnPurse()) if tier != RULES else None
    known = settings.planner.names
    if tier != RULES and (tiered is None or tier not in (CHAIN, *known)):
        raise Refused(
            f"planning with tier {tier[:60]!r}: the settings have {', '.join(known) or 'no model'}",
            next_step=f"--tier {RULES}, --tier {CHAIN} or one of them; [planner.tiers] in gitmedic.toml",
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


def _key_reader(settings: Settings, name: str) -> Callable[[], str]:
    return lambda: read_key(
        settings.planner.tiers[name], lambda path: check_secret(path, what=f"the key of tier {name!r}")
    )
