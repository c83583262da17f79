"""The webhook: `POST /alertmanager`, answered after the commit.

What is measured: POST/s, alerts/s and the time to an answer (p50, p99, milliseconds) of `gitmedic serve` in its own
process with the embedded PostgreSQL, at 1 and 50 alerts a post over 16 and 64 keep-alive connections. Every alert is
new: the dearest thing that Alertmanager can send. Client, server and database share the machine; no worker opens
cases meanwhile, which is its own measure (`opening`).

In the same run, in turn with it:
- the same server without the commit (`bench.door`): what the HTTP stack and the reading of a payload allow;
- a bare feed: one connection, the same batches through the same statements, rows made beforehand;
- pgbench, one raw body a transaction: printed only.

Targets, as shares of those limits: at 1 a post 0.75 of no commit, p99 below 50 ms over 16 connections and 100 ms over
64; at 50 a post 0.3 of no commit and 0.7 of the bare feed. They come from a prototype of this design: what a group
commit reached on two cores. What was answered 200 must be in the table: `lost` is 0.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from psycopg.conninfo import conninfo_to_dict

from bench import feed, place
from bench.client import Found, Spec, post
from bench.report import Measure

NAME = "webhook"
ALERTS = (1, 50)
CONNECTIONS = (16, 64)
_SHARE_OF_DOOR = {1: 0.75, 50: 0.3}
_SHARE_OF_FEED = 0.7
_P99_MS = {16: 50.0, 64: 100.0}


@dataclass
class _Cell:
    """One combination, a value per round."""

    committed: list[Found] = field(default_factory=list)
    door: list[Found] = field(default_factory=list)
    fed: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


async def measure(rounds: int, seconds: float) -> AsyncIterator[Measure]:
    """All combinations, round by round."""
    cells = {(alerts, connections): _Cell() for alerts in ALERTS for connections in CONNECTIONS}
    bare: list[float] = []
    async with place.database() as where:
        token = await place.token(where, "alerts:write")
        with place.server(where) as real, place.server(where, "bench.door") as door:
            for _ in range(rounds):
                for (alerts, connections), cell in cells.items():
                    spec = Spec("127.0.0.1", 0, "/alertmanager", token, alerts, connections, seconds, min(1.0, seconds))
                    cell.door.append(await place.off_loop(post, _to(spec, door)))
                    where.sql(place.query("reset"))
                    cell.committed.append(await place.off_loop(post, _to(spec, real)))
                    cell.lost.append(_lost(where, cell.committed[-1], alerts))
                    where.sql(place.query("reset"))
                    cell.fed.append(
                        await place.off_loop(feed.alerts_per_second, where.dsn, alerts, connections, seconds)
                    )
                bare.append(_pgbench(where.dsn, seconds))
    for (alerts, connections), cell in cells.items():
        for one in _measures(alerts, connections, cell):
            yield one
    yield Measure(NAME, "pgbench, one INSERT a transaction, 16 clients", "1/s", bare)


def _measures(alerts: int, connections: int, cell: _Cell) -> list[Measure]:
    what = f"{alerts} a post, {connections} connections"

    def one(
        name: str, unit: str, values: list[float], sign: Literal["", "<", "<=", ">="] = "", target: float = 0
    ) -> Measure:
        return Measure(NAME, f"{what}: {name}", unit, values, sign, target)

    ours = [found.alerts_per_second for found in cell.committed]
    limit = [found.alerts_per_second for found in cell.door]
    bounds: tuple[Literal["", "<"], float] = ("<", _P99_MS[connections]) if alerts == 1 else ("", 0)
    to_feed: tuple[Literal["", ">="], float] = (">=", _SHARE_OF_FEED) if alerts > 1 else ("", 0)
    return [
        one("POST/s", "1/s", [found.posts_per_second for found in cell.committed]),
        one("alerts/s", "1/s", ours),
        one("without the commit, alerts/s", "1/s", limit),
        one("bare feed, alerts/s", "1/s", cell.fed),
        one("share of no commit", "ratio", [a / b for a, b in zip(ours, limit, strict=True)],
            ">=", _SHARE_OF_DOOR[alerts]),
        one("share of bare feed", "ratio", [a / b for a, b in zip(ours, cell.fed, strict=True)], *to_feed),
        one("p50", "ms", [found.p50 for found in cell.committed]),
        one("p99", "ms", [found.p99 for found in cell.committed], *bounds),
        one("p99 without the commit", "ms", [found.p99 for found in cell.door]),
        one("refused", "posts", [float(found.refused) for found in cell.committed], "<=", 0),
        one("answered 200 and not stored", "alerts", cell.lost, "<=", 0),
    ]  # fmt: skip


def _to(spec: Spec, port: int) -> Spec:
    return Spec(**{**vars(spec), "port": port})


def _lost(where: place.Place, found: Found, alerts: int) -> float:
    ((stored,),) = where.sql("SELECT count(*) FROM alerts WHERE source = 'bench'")
    return float(max(0, found.acknowledged * alerts - stored))


def _pgbench(dsn: str, seconds: float) -> float:
    """Transactions a second, by PostgreSQL's own tool; it says none where none ended in time, on a busy machine."""
    given = conninfo_to_dict(dsn)
    for whole in (max(1, round(seconds)), 10 * max(1, round(seconds))):
        done = subprocess.run(
            [place.postgres_programs() / "pgbench", "--no-vacuum", "--client=16", "--jobs=1", "--protocol=prepared",
             f"--time={whole}", f"--file={place.ROOT / 'bench' / 'pgbench.sql'}",
             f"--host={given['host']}", f"--username={given['user']}", str(given["dbname"])],
            capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": str(given["password"])},
        )  # fmt: skip
        found = re.search(r"tps = ([\d.]+)", done.stdout)
        if found is not None:
            return float(found[1])
    raise SystemExit(f"pgbench for {whole} s: exit {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
