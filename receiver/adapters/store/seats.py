"""A worker's name is a seat that one process has at a time; its number fences off whoever had it before.

Decides who may have a name. A living holder keeps it, and the second is refused; one that said goodbye, whose process
is gone from this very machine, or that is silent elsewhere, loses it, together with every lease it held. Refuses a sign
of life from a process whose name another one has, or that was itself stopped for too long: it must end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.migrate import check_newest
from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.errors import Refused

SQL = load("seats")
BEAT_SECONDS = 10.0
#: a process that was itself stopped for so long ends: by then it counts as gone (`workers_seen`)
SILENT_SECONDS = 45.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def began(pid: int) -> str:
    """When a process of this machine began, in its own ticks; empty: there is none, or only its remains."""
    words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return words[19] if len(words) > 19 and words[0] not in ("Z", "X") else ""


def machine() -> str:
    """This boot of this machine and its space of process numbers; empty where neither can be told."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    try:
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}" if boot else ""
    except OSError:
        return ""


def _awake() -> float:
    """Goes on while the machine sleeps, where there is such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass(frozen=True)
class Who:
    """The process that wants a seat."""

    name: str
    roles: str
    sites: tuple[str, ...] = ()
    version: str = ""
    instance: str = ""
    host: str = field(default_factory=socket.gethostname)
    machine: str = field(default_factory=machine)
    pid: int = field(default_factory=os.getpid)


@dataclass
class Seat:
    """A name and the number under which this process has it."""

    pool: AsyncConnectionPool[Any]
    who: Who
    fence: int
    clock: Callable[[], float] = _awake

    def __post_init__(self) -> None:
        self._tried_at = self.clock()

    async def beat(self, metrics: dict[str, Any]) -> None:
        """This worker lives; its counts so far. Raises `Refused` (seat_lost) when it must end."""
        silent, self._tried_at = self.clock() - self._tried_at, self.clock()
        if silent > SILENT_SECONDS:
            raise _lost(self.who.name, f"this process was stopped for {silent:.0f} s")
        values = {"name": self.who.name, "fence": self.fence, "metrics": Jsonb(metrics)}
        with translated("noting a sign of life"):
            async with self.pool.connection() as connection:
                row = await (await connection.execute(SQL["beat"], values)).fetchone()
                found = None if row else await _found(connection, self.who.name)
        if row is None:
            now_has = f"process {found['pid']} on {found['host']} has it" if found else "nobody has it"
            raise _lost(self.who.name, f"{now_has} now")
        check_newest(row[0])

    async def leave(self) -> None:
        """Say goodbye: whoever wants the name next need not wait."""
        with translated("saying goodbye"):
            async with self.pool.connection() as connection:
                await connection.execute(SQL["leave"], {"name": self.who.name, "fence": self.fence})


class Seats:
    """Rows of `workers`, one per name."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, who: Who) -> Seat:
        """Sit down, or `Refused` while another process lives under this name."""
        with translated("taking the name of a worker"):
            async with self._pool.connection() as connection, connection.transaction():
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["lock"], {"name": who.name})
                await cursor.execute(SQL["holder"], {"name": who.name})
                holder = await cursor.fetchone()
                if holder is not None and _lives(holder, who):
                    raise _taken(holder, who)
                await cursor.execute(SQL["revoke"], {"name": who.name})
                await cursor.execute(SQL["take"], _row(who))
                fence = (await cursor.fetchone() or {})["fence"]
        return Seat(self._pool, who, fence)

    async def found(self, name: str) -> dict[str, Any] | None:
        """Who has this name, and how long it was silent."""
        with translated("looking for a worker"):
            async with self._pool.connection() as connection:
                return await _found(connection, name)


async def _found(connection: Any, name: str) -> dict[str, Any] | None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(SQL["found"], {"name": name})
    row: dict[str, Any] | None = await cursor.fetchone()
    return row


def _row(who: Who) -> dict[str, Any]:
    sites: Sequence[str] = who.sites
    return {
        "name": who.name, "roles": who.roles, "sites": list(sites), "version": who.version, "instance": who.instance,
        "host": who.host, "machine": who.machine, "pid": who.pid, "begun": began(who.pid),
    }  # fmt: skip


def _lives(holder: dict[str, Any], who: Who) -> bool:
    if holder["ended_at"] is not None:
        return False
    if _is_here(holder, who):
        # this machine knows, however long it was silent: a killed one's successor need not wait, and one that was
        # stopped, or whose database was away, goes on with what it has in hand
        return bool(holder["begun"]) and began(holder["pid"]) == holder["begun"]
    return bool(holder["lives"])


def _is_here(holder: dict[str, Any], who: Who) -> bool:
    return bool(who.machine) and holder["machine"] == who.machine


def _taken(holder: dict[str, Any], who: Who) -> Refused:
    given_up = "it is given up when that process ends"
    if not _is_here(holder, who):
        given_up = f"it is given up after {SILENT_SECONDS:g} s of silence"
    return Refused(
        f"starting worker {holder['name']!r}: process {holder['pid']} on {holder['host']} has this name and lives "
        f"(heard {holder['silent_seconds']:.0f} s ago)",
        next_step=f"stop that one, or give this one another name: --name; {given_up}",
        reason="name_taken",
    )


def _lost(name: str, why: str) -> Refused:
    return Refused(
        f"working as {name!r}: the name was lost: {why}",
        next_step="let one process have each name: --name, or [worker] name",
        reason="seat_lost",
    )
