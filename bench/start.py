"""Start and memory.

What is measured: seconds of `gitmedic --help`; seconds of `gitmedic up` until `/readyz` says 200, for the very first
start (it makes the database) and for a later one; MiB of proportional memory (PSS) of all its processes, PostgreSQL
included, ten seconds after that; and how that grows: the slope through the memory before and after each of three
blocks of 20,000 alerts, of which one in a hundred opens a case that is then worked off. The first block also fills
PostgreSQL's buffers (32 MiB); a leak would show in every block.

Targets: `--help` within 0.5 s and ready within 5 s, as a person waits; idle below 400 MiB, since it must fit beside
other things on a small machine. The growth is printed.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench import place
from bench.client import Spec, post
from bench.machine import is_postgres, pss_mb, tree
from bench.report import Measure
from receiver.adapters.store.embedded import dsn_of

NAME = "start"
BLOCKS, BLOCK_ALERTS, A_POST, OPENING = 3, 20_000, 50, 200
_HELP_SECONDS, _READY_SECONDS, _IDLE_MB = 0.5, 5.0, 400.0
_SETTLE_SECONDS = 10.0
_WORK_OFF_SECONDS = 180.0


async def measure(
    rounds: int, seconds: float, *, block_alerts: int = BLOCK_ALERTS, settle: float = _SETTLE_SECONDS
) -> AsyncIterator[Measure]:
    """Starts a round each; the blocks once, since memory needs no median."""
    del seconds
    helped = [await place.off_loop(_help) for _ in range(rounds)]
    first: list[float] = []
    later: list[float] = []
    idle: list[float] = []
    with place.directory() as where:
        for number in range(rounds):
            with place.directory() as fresh, up(fresh) as (_, took):
                first.append(took)
            with up(where) as (pid, took):
                if number:
                    later.append(took)
                await asyncio.sleep(settle)
                idle.append(pss_mb(tree(pid)))
        with up(where) as (pid, took):
            later.append(took)
            ours, theirs = await _grown(place.Place(where.path, where.settings, where.first, dsn_of(where.path)), pid,
                                        block_alerts, settle)  # fmt: skip
    yield Measure(NAME, "gitmedic --help", "s", helped, "<", _HELP_SECONDS)
    yield Measure(NAME, "up until ready, the first time", "s", first, "<", _READY_SECONDS)
    yield Measure(NAME, "up until ready, later", "s", later, "<", _READY_SECONDS)
    yield Measure(NAME, "memory when idle, all processes", "MiB", idle, "<", _IDLE_MB)
    for name, values in (("gitmedic", ours), ("PostgreSQL", theirs)):
        said = f"{' '.join(f'{one:.0f}' for one in values)} MiB"
        grown = [slope(values)]
        yield Measure(NAME, f"growth of {name} per {block_alerts:,} alerts", "MiB", grown, note=said)


def slope(values: list[float]) -> float:
    """Of the straight line through values that lie one block apart (least squares)."""
    return statistics.linear_regression(range(len(values)), values).slope


def _help() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "receiver", "--help"], capture_output=True, check=True, cwd=place.ROOT)
    return time.perf_counter() - begun


@contextmanager
def up(where: place.Place) -> Iterator[tuple[int, float]]:
    """`gitmedic up`: its pid, and the seconds until it was ready."""
    log = where.path.parent / "up.log"
    begun = time.perf_counter()
    with place.process([sys.executable, "-m", "receiver", "up", "--data-dir", str(where.path)], log) as child:
        place.ready(where.settings.web.port, child, log)
        yield child.pid, time.perf_counter() - begun


async def _grown(where: place.Place, pid: int, block: int, settle: float) -> tuple[list[float], list[float]]:
    """Memory before and after each block, of our processes and of PostgreSQL's."""
    token = await place.token(where, "alerts:write")
    many = Spec("127.0.0.1", where.settings.web.port, "/alertmanager", token, A_POST, 4, opens_cases=False)
    few = replace(many, alerts=1, opens_cases=True)
    opening = min(OPENING, block // 100)
    values: list[tuple[float, float]] = [await _memory(pid, settle)]
    for number in range(BLOCKS):
        for spec, alerts in ((many, block - opening), (few, opening)):
            posts = alerts // spec.alerts
            found = await place.off_loop(post, replace(spec, posts=posts, first=number * posts + (1 << 30)))
            if found.refused:
                raise SystemExit(f"{found.refused} of {posts} posts were refused")
        await _worked_off(where)
        values.append(await _memory(pid, settle))
    return [ours for ours, _ in values], [theirs for _, theirs in values]


async def _memory(pid: int, settle: float) -> tuple[float, float]:
    await asyncio.sleep(settle)
    pids = tree(pid)
    postgres = {one for one in pids if is_postgres(one)}
    return pss_mb(pids - postgres), pss_mb(postgres)


async def _worked_off(where: place.Place) -> None:
    """Until no case moves by itself any more."""
    end = time.monotonic() + _WORK_OFF_SECONDS
    while time.monotonic() < end:
        ((due,),) = where.sql("SELECT count(*) FROM cases WHERE is_open AND due_at < now() + interval '2 seconds'")
        if not due:
            return
        await asyncio.sleep(0.2)
    raise SystemExit(f"{due} cases still moved after {_WORK_OFF_SECONDS:.0f} s")
