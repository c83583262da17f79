"""What a recall costs, however much is remembered.

What is measured: milliseconds of `recall` (p50 and p99) over a fresh mix of alerts, by words alone at 10^4, 10^5 and
10^6 rows, and with vectors of 384 dimensions at 10^4 and 10^5 (an embedder in this process that takes no time: what a
real one takes comes on top, at most one second). Rows are made by `memory.sql` through the real schema.

Targets: p99 below 60 ms at 10^5 rows, by words and with vectors, so that no plan waits for it; and p99 at 10^6 at most
twice that at 10^5, since each side of the search is capped.
"""

from __future__ import annotations

import functools
import hashlib
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from bench import place
from bench.report import Measure, quantile
from receiver.adapters.store.memory import PostgresMemory
from receiver.adapters.store.migrate import migrate
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
    """A database for each size, filled one after the other and then asked in turn, round by round."""
    took: dict[str, list[list[float]]] = {}
    notes: dict[str, str] = {}
    async with place.database() as where, AsyncExitStack() as stack:
        memories: dict[str, PostgresMemory] = {}
        for size in sizes:
            pool = await stack.enter_async_context(open_pool(await _database(where, size)))
            words, both = f"{size:,} rows, by words", f"{size:,} rows, with vectors"
            begun = time.perf_counter()
            await _fill(pool, size)
            memories[words], notes[words] = PostgresMemory(pool), f"filled in {time.perf_counter() - begun:.0f} s"
            if size <= with_vectors:
                vectors, begun = Vectors(pool, Directions()), time.perf_counter()
                while await vectors.catch_up():
                    pass
                memories[both] = PostgresMemory(pool, vectors)
                notes[both] = f"embedded and indexed in {time.perf_counter() - begun:.0f} s"
        where.sql("CHECKPOINT")
        for _ in range(rounds):
            for name, memory in memories.items():
                took.setdefault(name, []).append(await _recalled(memory, seconds))
    p99 = {name: [quantile(one, 0.99) for one in found] for name, found in took.items()}
    for name, found in took.items():
        judged: Literal["<", ""] = "<" if name.startswith(f"{with_vectors:,} ") else ""
        yield Measure(NAME, f"{name}: p50", "ms", [quantile(one, 0.5) for one in found])
        yield Measure(NAME, f"{name}: p99", "ms", p99[name], judged, _P99_MS, notes[name])
    for size in [size for size in sizes if size > with_vectors]:
        pairs = zip(p99[f"{size:,} rows, by words"], p99[f"{with_vectors:,} rows, by words"], strict=True)
        name = f"p99 at {size:,} rows to that at {with_vectors:,}"
        yield Measure(NAME, name, "ratio", [this / that for this, that in pairs], "<=", _FLAT)


class Directions:
    """An embedder that takes no time: the sum of a direction for each word, so that what shares words is near."""

    model = "directions"

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


async def _database(where: place.Place, size: int) -> str:
    """A fresh one beside the installation's own."""
    name = f"memory_{size}"
    where.sql(f"CREATE DATABASE {name}")
    dsn = make_conninfo(where.dsn, dbname=name)
    await migrate(dsn)
    return dsn


async def _fill(pool: AsyncConnectionPool[Any], size: int) -> None:
    values = {"from": 1, "rows": size, "components": _COMPONENTS.split(), "symptoms": _SYMPTOMS.split()}
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memory' AND indexdef NOT LIKE '%UNIQUE%'"
        )
        indexes = await found.fetchall()
        for name, _ in indexes:  # made anew afterwards: row by row they take longer than the rows
            await connection.execute(f"DROP INDEX {name}".encode())
        await connection.execute(place.query("memory").encode(), values)
        for _, definition in indexes:
            await connection.execute(definition.encode())
        await connection.execute("VACUUM ANALYZE memory")


async def _recalled(memory: PostgresMemory, seconds: float) -> list[float]:
    """Milliseconds of each recall, one after the other, each of another alert."""
    dice = random.Random(7)  # noqa: S311 - no secret
    took: list[float] = []
    recalled = 0
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
        recalled += len(found)
    if not recalled:
        raise SystemExit("nothing was recalled at all")
    return took
