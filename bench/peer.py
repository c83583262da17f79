"""The webhook beside a peer: ansible-rulebook, which also takes Alertmanager's webhook and starts Ansible.

Asked for by name only, since the peer is installed for it (Java 17, a collection). What cannot be had is said; then
there is no verdict.

What is measured: POST/s, alerts/s and p99 (milliseconds) of both at 1 and 50 alerts a post over 16 and 64 keep-alive
connections, in turn; ours is `gitmedic serve` with every alert stored and a case opened before it answers 200, the
peer's is its default, in memory, answered 202, with a rule that is met and does nothing. Memory of all processes when
idle (MiB, PSS). And what is gone after kill -9 of all processes at a random moment: ours after a new start, among the
rows; the peer's among what its rule had printed by then, since in memory nothing else is left of it.

Targets: 3 times its rate at 1 a post and 8 times at 50, as a prototype of this design reached on two cores; ours loses
nothing that it acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bench import place, rulebook, start
from bench.client import Found, Spec, post
from bench.machine import pss_mb, tree
from bench.report import Measure
from receiver.adapters.store.embedded import dsn_of

NAME = "peer"
ALERTS = (1, 50)
CONNECTIONS = (16, 64)
_TIMES = {1: 3.0, 50: 8.0}
_SETTLE_SECONDS = 10.0
_LEAST_SECONDS = 0.3
_PRINTED = re.compile(rb"^([0-9a-f]{16})\r?$", re.MULTILINE)


@dataclass
class _Cell:
    """One combination, a value per round."""

    ours: list[Found] = field(default_factory=list)
    theirs: list[Found] = field(default_factory=list)


@dataclass
class _Killed:
    """Of each round: acknowledged alerts, and those of them that are gone."""

    acknowledged: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


async def measure(rounds: int, seconds: float, *, settle: float = _SETTLE_SECONDS) -> AsyncIterator[Measure]:
    """Rates, memory and losses, each of both in turn."""
    try:
        peer = await place.off_loop(rulebook.installed)
    except rulebook.Absent as error:
        yield Measure(NAME, "ansible-rulebook", "", (), note=f"missing: {error}")
        return
    with tempfile.TemporaryDirectory(prefix="gitmedic-peer-", dir=place.BASE) as folder:
        for one in [
            *await _rates(peer, Path(folder), rounds, seconds),
            *await _idle(peer, Path(folder), rounds, settle),
        ]:
            yield one
        ours, theirs = _Killed(), _Killed()
        for _ in range(rounds):
            await _kill_ours(ours, seconds)
            await _kill_theirs(peer, Path(folder), theirs, seconds)
    for who, killed in (("gitmedic", ours), ("ansible-rulebook", theirs)):
        note = f"of {', '.join(str(one) for one in killed.acknowledged)} acknowledged"
        bound: tuple[Literal["", "<="], float] = ("<=", 0) if killed is ours else ("", 0)
        yield Measure(NAME, f"lost after kill -9: {who}", "alerts", [float(one) for one in killed.lost], *bound, note)
        shares = [100 * lost / max(1, all_) for lost, all_ in zip(killed.lost, killed.acknowledged, strict=True)]
        yield Measure(NAME, f"lost after kill -9: {who}, share", "%", shares)


async def _rates(peer: rulebook.Peer, folder: Path, rounds: int, seconds: float) -> list[Measure]:
    cells = {(alerts, connections): _Cell() for alerts in ALERTS for connections in CONNECTIONS}
    async with place.database() as where:
        token = await place.token(where, "alerts:write")
        with place.server(where) as port:
            for _ in range(rounds):
                for (alerts, connections), cell in cells.items():
                    spec = Spec(
                        "127.0.0.1", port, "/alertmanager", token, alerts, connections, seconds, min(1.0, seconds)
                    )
                    # a fresh one each time: it goes on with what it has accepted, at the cost of whoever comes next
                    with rulebook.running(peer, folder, rulebook.RATE) as (other, _, _):
                        cell.theirs.append(await place.off_loop(post, replace(spec, port=other, path="/alerts")))
                    where.sql(place.query("reset"))
                    cell.ours.append(await place.off_loop(post, spec))
    return [one for (alerts, connections), cell in cells.items() for one in _told(alerts, connections, cell, peer)]


def _told(alerts: int, connections: int, cell: _Cell, peer: rulebook.Peer) -> list[Measure]:
    what = f"{alerts} a post, {connections} connections"
    made = []
    for who, found in (("gitmedic", cell.ours), ("ansible-rulebook", cell.theirs)):
        note = peer.version if found is cell.theirs else ""
        made += [
            Measure(NAME, f"{what}: {who}, POST/s", "1/s", [one.posts_per_second for one in found], note=note),
            Measure(NAME, f"{what}: {who}, alerts/s", "1/s", [one.alerts_per_second for one in found]),
            Measure(NAME, f"{what}: {who}, p99", "ms", [one.p99 for one in found]),
            Measure(NAME, f"{what}: {who}, refused", "posts", [float(one.refused) for one in found]),
        ]
    # a window in which the peer answers nothing gives no ratio
    times = [
        mine.alerts_per_second / its.alerts_per_second
        for mine, its in zip(cell.ours, cell.theirs, strict=True)
        if its.alerts_per_second
    ]
    silent = len(cell.theirs) - len(times)
    bound: tuple[Literal["", ">="], float] = ("", 0) if silent else (">=", _TIMES[alerts])
    note = f"not judged: in {silent} rounds the peer answered nothing" if silent else ""
    return [*made, Measure(NAME, f"{what}: gitmedic to ansible-rulebook", "ratio", times, *bound, note)]


async def _idle(peer: rulebook.Peer, folder: Path, rounds: int, settle: float) -> list[Measure]:
    """Memory a while after the start; ours with worker and PostgreSQL."""
    ours, theirs = [], []
    for _ in range(rounds):
        with place.directory() as where, start.up(where) as (pid, _):
            await asyncio.sleep(settle)
            ours.append(pss_mb(tree(pid)))
        with rulebook.running(peer, folder, rulebook.RATE) as (_, child, _):
            await asyncio.sleep(settle)
            theirs.append(pss_mb(tree(child.pid)))
    return [
        Measure(NAME, "idle memory: gitmedic with PostgreSQL", "MiB", ours),
        Measure(NAME, "idle memory: ansible-rulebook", "MiB", theirs),
    ]


async def _kill_ours(killed: _Killed, seconds: float) -> None:
    with place.directory() as where:
        with start.up(where) as (pid, _):
            begun = place.Place(where.path, where.settings, where.first, dsn_of(where.path))
            token = await place.token(begun, "alerts:write")
            spec = Spec("127.0.0.1", where.settings.web.port, "/alertmanager", token, 1, 16, seconds)
            found = await _killed_while_posting(spec, pid)
        with start.up(where):
            rows = begun.sql("SELECT fingerprint FROM alerts")
        _count(killed, found, {fingerprint for (fingerprint,) in rows})


async def _kill_theirs(peer: rulebook.Peer, folder: Path, killed: _Killed, seconds: float) -> None:
    with rulebook.running(peer, folder, rulebook.SEEN) as (port, child, log):
        found = await _killed_while_posting(Spec("127.0.0.1", port, "/alerts", "", 1, 16, seconds), child.pid)
    _count(killed, found, {one.decode() for one in _PRINTED.findall(log.read_bytes())})


async def _killed_while_posting(spec: Spec, pid: int) -> Found:
    """Post, and kill everything below `pid` at a moment that nobody knows beforehand."""
    posting = asyncio.create_task(place.off_loop(post, replace(spec, warm_up=0.0, is_listing=True)))
    # the client itself takes a moment to begin
    await asyncio.sleep(random.uniform(_LEAST_SECONDS, max(_LEAST_SECONDS, spec.seconds)) + _LEAST_SECONDS)  # noqa: S311
    for one in tree(pid):
        with contextlib.suppress(ProcessLookupError):  # some end with their parent
            os.kill(one, signal.SIGKILL)
    found: Found = await posting
    return found


def _count(killed: _Killed, found: Found, known: set[str]) -> None:
    killed.acknowledged.append(len(found.numbers))
    killed.lost.append(sum(f"{number:016x}" not in known for number in found.numbers))
