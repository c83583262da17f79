"""What would be decided about a payload, with the sources, the planner and the past of these settings.

Decides nothing and changes nothing: for `gitmedic plan` and `POST /api/plan`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from receiver.adapters.facts.gather import GatherFacts
from receiver.adapters.proof.sources import Sources
from receiver.adapters.store.ledger import PostgresLedger
from receiver.config import Settings
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.history import Past
from receiver.office import Office, SystemClock
from receiver.planners import open_planner
from receiver.preview import NO_CASE, Previewer, Recall


@asynccontextmanager
async def open_preview(settings: Settings, tier: str = "rules") -> AsyncIterator[Previewer]:
    """Answers what would be decided; asks the sources of these settings, and nothing else."""
    clock = SystemClock()
    sources = Sources(settings.sources, clock)
    try:
        async with open_planner(settings, tier) as planner:
            yield Previewer(facts=GatherFacts(sources, clock), proof=sources, planner=planner, clock=clock)
    finally:
        await sources.aclose()


def only_source(settings: Settings) -> str:
    """The name that a payload without a sender goes by: the one source there is."""
    return settings.sources[0].name if len(settings.sources) == 1 else "prom"


def recall_of(ledger: PostgresLedger | None) -> Recall:
    """The past as the store knows it; none where there is no store."""

    async def recall(alert: Alert, entity: Entity | None) -> Past:
        return await ledger.past(alert, entity, NO_CASE) if ledger is not None else Past()

    return recall


async def previews(settings: Settings, office: Office, body: bytes, source: str) -> list[dict[str, Any]]:
    """For the API: as `gitmedic plan` answers."""
    revision = await office.repo.revision(await office.repo.adopted())
    recall = recall_of(office.store.ledger)
    async with open_preview(settings) as previewer:
        found = await previewer.payload(body, source=source or only_source(settings), revision=revision, recall=recall)
    return [one.model_dump(mode="json") for one in found]
