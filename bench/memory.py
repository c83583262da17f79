"""What a recall costs, however much is remembered.

What is measured: milliseconds of `recall` (p50 and p99) over a fresh mix of alerts, by words alone at 10^4, 10^5 and
10^6 rows, and with vectors of 384 dimensions at 10^4 and 10^5 (an embedder in this process that takes no time: what a
real one takes comes on top, at most one second). Rows are made by `memory.sql` through the real schema.

Targets: p99 below 60 ms at 10^5 rows, by words and with vectors, so that no plan waits for it; and p99 at 10^6 at most
twice that at 10^5, since each side of the search is capped.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from bench import place
from bench.report import Measure, quantile
from receiver.adapters.store.memory import PostgresMemory
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.vectors import Vectors
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity

NAME = "memory"
SIZES, WITH_VECTORS = (10_000, 100_000, 1_000_000), 100_000
_P99_MS, _FLAT, _DIMS = 60.0, 2.0, 384
_FEWEST = 100
_COMPONENTS = """
    Host Disk Node Kube Pod Container Postgres Redis Nginx Haproxy Ceph Zfs Raid Smart Backup Dns Dhcp Vpn Mail Web
    Cache Queue Broker Ldap Ntp Cert Gitlab Registry Prometheus Grafana Loki Etcd Consul Vault Mysql Mongo Kafka Elastic
    Minio Proxmox Guest Switch Router Ups Printer Camera Sensor Fan Battery Link Volume Snapshot Replica
"""
_SYMPTOMS = """
    Down Full FillingUp HighLoad OutOfMemory Slow Unreachable Restarting CrashLooping Degraded Expired Expiring Failed
    Missing Stuck Lagging Throttled Overheating ReadOnly Corrupt Saturated Flapping Unhealthy Pending Evicted Rejected
    TimedOut Stale Skewed Unbalanced
"""


async def measure(
    rounds: int, seconds: float, *, sizes: Sequence[int] = SIZES, with_vectors: int = WITH_VECTORS
) -> AsyncIterator[Measure]:
    """By size, then round by round."""
    p99: dict[int, list[float]] = {}
    async with place.database() as where, open_pool(where.dsn) as pool:
        rows = 0
        for size in sizes:
            began = time.perf_counter()
            await asyncio.to_thread(_fill, where, rows + 1, size)
            rows, took = size, time.perf_counter() - began
            found = [await _recalled(PostgresMemory(pool), seconds) for _ in range(rounds)]
            p99[size] = [quantile(one, 0.99) for one in found]
            yield Measure(NAME, f"{size:,} rows, by words: p50", "ms", [quantile(one, 0.5) for one in found])
            judged: Literal["<", ""] = "<" if size == with_vectors else ""
            note = f"filled in {took:.0f} s"
            yield Measure(NAME, f"{size:,} rows, by words: p99", "ms", p99[size], judged, _P99_MS, note)
            if size > with_vectors:
                ratio = [this / that for this, that in zip(p99[size], p99[with_vectors], strict=True)]
                yield Measure(NAME, f"p99 at {size:,} rows to that at {with_vectors:,}", "ratio", ratio, "<=", _FLAT)
                continue
            vectors = Vectors(pool, Directions(f"directions-{size}"))
            began = time.perf_counter()
            while await vectors.catch_up():
                pass
            note = f"embedded and indexed in {time.perf_counter() - began:.0f} s"
            found = [await _recalled(PostgresMemory(pool, vectors), seconds) for _ in range(rounds)]
            yield Measure(NAME, f"{size:,} rows, with vectors: p50", "ms", [quantile(one, 0.5) for one in found])
            tails = [quantile(one, 0.99) for one in found]
            yield Measure(NAME, f"{size:,} rows, with vectors: p99", "ms", tails, judged, _P99_MS, note)


class Directions:
    """An embedder that takes no time: the sum of a direction for each word, so that what shares words is near."""

    def __init__(self, model: str) -> None:
        self.model = model

    async def embed(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """The same words, the same direction."""
        del query
        return [_sum(text) for text in texts]


def _sum(text: str) -> list[float]:
    made = [sum(values) for values in zip(*(_direction(word) for word in text.split()), strict=True)]
    length = math.hypot(*made)
    return [value / length for value in made]


@functools.cache
def _direction(word: str) -> list[float]:
    dice = random.Random(hashlib.sha256(word.encode()).digest())  # noqa: S311 - no secret
    return [dice.gauss(0, 1) for _ in range(_DIMS)]


def _fill(where: place.Place, first: int, last: int) -> None:
    text = place.query("memory")
    where.sql(text, {"from": first, "rows": last, "components": _COMPONENTS.split(), "symptoms": _SYMPTOMS.split()})
    where.sql("VACUUM ANALYZE memory")


async def _recalled(memory: PostgresMemory, seconds: float) -> list[float]:
    """Milliseconds of each recall, one after the other, each of another alert."""
    dice = random.Random(7)  # noqa: S311 - no secret
    took: list[float] = []
    end = time.perf_counter() + seconds
    while len(took) < _FEWEST or time.perf_counter() < end:
        name = dice.choice(_COMPONENTS.split()) + dice.choice(_SYMPTOMS.split())
        host = f"host{dice.randrange(800)}"
        alert = Alert(
            source="bench", fingerprint="0" * 16, starts_at=datetime.now(UTC), status="firing",
            labels={"alertname": name, "instance": host},
        )  # fmt: skip
        entity = Entity(kind="host", name=host, host=host, site="site1")
        begun = time.perf_counter()
        found = await memory.recall(alert, entity)
        took.append(1000 * (time.perf_counter() - begun))
        if not found:
            raise SystemExit(f"nothing was recalled for {name} on {host}")
    return took
