"""The stages of a case, read from its own events.

What is measured: seconds from the stored alert to the open proposal, without the dry run (Ansible's own time, see the
group `run`), as the sum of the stages on the way with all waiting between them; and seconds from a person's word to
the first task of the run. The whole product runs: `gitmedic up` with its four processes, the demo's real things
that break, its source that confirms. A round breaks and mends two of them one after the other, in processes that
have done so once before.

Target: p50 of the sum below 0.3 s, so that a person sees a proposal as soon as Alertmanager has sent the alert.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections.abc import AsyncIterator
from typing import Any

from bench import place
from bench.report import Measure
from receiver.demo import cards, rig
from receiver.domain.case import Closed, Proposed

NAME = "stages"
_MOST_SECONDS = 0.3
_CARDS = ("cache", "web")
_CARD_SECONDS = 120.0


async def measure(rounds: int, seconds: float) -> AsyncIterator[Measure]:
    """A demo a round; `seconds` has no say, the cards have."""
    del seconds
    sums: list[float] = []
    rehearsals: list[float] = []
    firsts: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(rounds):
        rows = await _round()
        sums.append(statistics.median(row[0] for row in rows))
        rehearsals.append(statistics.median(row[1] for row in rows))
        firsts.append(statistics.median(row[3] for row in rows if row[3] is not None))
        for name in rows[0][2]:
            stages.setdefault(name, []).append(statistics.median(row[2][name] for row in rows if name in row[2]))
    yield Measure(NAME, "alert to proposal without the dry run, p50", "s", sums, "<", _MOST_SECONDS)
    for name in ("triaged", "investigated", "planned", "vetted", "proposed"):
        yield Measure(NAME, f"of it, until {name}", "s", stages[name])
    yield Measure(NAME, "the dry run, p50", "s", rehearsals)
    yield Measure(NAME, "a person's word to the first task, p50", "s", firsts)


async def _round() -> list[tuple[Any, ...]]:
    async with _demo() as running:
        wanted = [card for card in cards.CARDS if card.name in _CARDS]
        await asyncio.gather(*[cards.play(running, card) for card in wanted])  # the first ones find cold processes
        before = max(row["number"] for row in await _cases(running))
        for card in wanted:
            await _play(running, card)
        async with running.office.store.pool.connection() as connection:
            cursor = await connection.execute(place.query("stages").encode(), {"after": before})
            rows: list[tuple[Any, ...]] = await cursor.fetchall()
            return rows


async def _play(running: rig.Rig, card: cards.Card) -> None:
    """Break it once more, approve what is proposed, wait for the end."""
    before = max(row["number"] for row in await _cases(running))
    await asyncio.to_thread(card.break_it, running.place)
    approved = False
    async with asyncio.timeout(_CARD_SECONDS):
        while True:
            await asyncio.sleep(0.05)
            new = [row["id"] for row in await _cases(running, alertname=card.alert) if row["number"] > before]
            found = await running.office.store.archive.stored(new[0]) if new else None
            if isinstance(found, Proposed) and not approved:
                await cards.approve(running, found)
                approved = True
            if isinstance(found, Closed):
                if found.outcome != card.outcome:
                    raise SystemExit(f"the demo did not end as it should: {card.name}: {found.outcome}")
                return


async def _cases(running: rig.Rig, **filters: str) -> tuple[dict[str, Any], ...]:
    return (await running.office.store.archive.cases(limit=5, cursor=None, filters=filters)).items


@contextlib.asynccontextmanager
async def _demo() -> AsyncIterator[rig.Rig]:
    """The probe as source: no Prometheus, whose scrapes are no part of this."""
    found: rig.Rig | None = None
    try:
        async with rig.running(simulated=True, say=lambda text: None) as found:
            yield found
    finally:
        if found is not None:
            shutil.rmtree(found.place, ignore_errors=True)
