"""The stages of a case, read from its own events.

What is measured: seconds from the stored alert to the open proposal, without the dry run (Ansible's own time, see the
group `run`), as the sum of the stages on the way with all waiting between them; and seconds from a person's word to
the first task of the run. The whole product runs: `gitmedic up` with its four processes, the demo's real things
that break, its source that confirms. A round breaks and mends three of them side by side.

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

NAME = "stages"
_MOST_SECONDS = 0.3
_CARDS = ("cache", "web", "queue")


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
        results = await asyncio.gather(*[cards.play(running, card) for card in wanted])
        wrong = [f"{one['card']}: {one['outcome']}" for one in results if one["outcome"] not in ("fixed", "not_fixed")]
        if wrong:
            raise SystemExit(f"the demo did not end as it should: {'; '.join(wrong)}")
        async with running.office.store.pool.connection() as connection:
            cursor = await connection.execute(place.query("stages").replace("%%", "%").encode())
            return await cursor.fetchall()


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
