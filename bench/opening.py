"""Stored alerts become cases: what the plan role does with a storm before it looks at the first of them.

What is measured: cases opened a second when 20,000 alerts wait, through the product's own statements, and how much
slower the last thousand is than the first. Target: at most twice, for a plan that was made over an empty table and
kept would make it many times.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from bench import place
from bench.bodies import maker
from bench.report import Measure
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.inbox import PostgresInbox
from receiver.adapters.store.opening import MOST
from receiver.adapters.store.pool import open_pool
from receiver.ports import Post

NAME = "opening"
ALERTS = 20_000
_POSTS = 10
_EACH = 50
_MOST_SLOWER = 2.0


async def measure(rounds: int, seconds: float, *, alerts: int = ALERTS) -> AsyncIterator[Measure]:
    """Each round on empty tables; `seconds` has no say, a count has."""
    del seconds
    rates: list[float] = []
    slower: list[float] = []
    async with place.database() as where, open_pool(where.dsn, most=2) as pool:
        inbox, cases = PostgresInbox(pool), PostgresCases(pool)
        await inbox.connect((place.SOURCE,))
        for number in range(rounds):
            where.sql(place.query("reset"))
            await _fill(inbox, alerts, first=number * alerts)
            times = []
            while True:
                begun = time.perf_counter()
                if not await cases.open_stored():
                    break
                times.append(time.perf_counter() - begun)
            edge = max(1, 1000 // MOST)
            rates.append(alerts / sum(times))
            slower.append(sum(times[-edge:]) / sum(times[:edge]))
    yield Measure(NAME, f"cases opened of {alerts:,} stored alerts", "1/s", rates)
    yield Measure(NAME, "the last thousand to the first", "ratio", slower, "<=", _MOST_SLOWER)


async def _fill(inbox: PostgresInbox, alerts: int, *, first: int) -> None:
    body = maker(_EACH)
    for number in range(first // _EACH, (first + alerts) // _EACH, _POSTS):
        posts = [Post(source=place.SOURCE, body=body(number + one)) for one in range(_POSTS)]
        await inbox.store(posts)
