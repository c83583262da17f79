"""One change at a time per host: named locks as rows, taken all or none, in the order of a queue (promise P8).

Decides who goes first: whoever waits longest. A later run that wants what an earlier one waits for does not overtake
it; one that wants other things goes on. A waiting run is told whom it waits for and why. Under a lease nothing is taken
or given back once that lease was lost: the case's fence is asked in the same transaction. `hold` and `release` are the
same locks by a person's hand; one with an end frees itself, by the database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.errors import Conflict
from receiver.ports import Lease

SQL = load("locks")


class PostgresLocks:
    """The Locks port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], lease: Lease | None = None) -> None:
        self._pool, self._lease = pool, lease

    def under(self, lease: Lease) -> PostgresLocks:
        """The same for one case in hand."""
        return PostgresLocks(self._pool, lease)

    async def take(self, run: str, case: str, names: Sequence[str], reason: str = "") -> str | None:
        """None when all are ours (again), else whom it waits for; it has its place in the queue then."""
        wanted = sorted(set(names))
        values = {"run": run, "case": case, "names": wanted, "reason": reason or f"run {run}"}
        with translated("taking locks"):
            async with self._pool.connection() as connection, connection.transaction():
                await _rows(connection, "alone", {})
                if not await self._holds(connection):
                    raise Conflict(f"taking locks for case {case}: its lease was lost")
                for query in ("expire", "queue"):
                    await _rows(connection, query, values)
                (turn,) = await _rows(connection, "turn", values)
                if turn["held_name"] is not None:
                    return _held(turn)
                if turn["after_name"] is not None:
                    return _waited_for(turn)
                await _rows(connection, "take", values)
                return None

    async def free(self, run: str) -> None:
        """Give back what this run holds, its place in the queue too, and wake who can go now.

        Nothing when the lease was lost: whoever has the case now has them as well.
        """
        await self._freed(("free", "leave"), run=run)

    async def hold(self, name: str, reason: str, *, seconds: float | None = None) -> bool:
        """A person's lock, for so long; False when it is taken."""
        with translated("locking by hand"):
            async with self._pool.connection() as connection, connection.transaction():
                for query in ("alone", "expire"):
                    await _rows(connection, query, {})
                return bool(await _rows(connection, "hold", {"name": name, "reason": reason, "seconds": seconds}))

    async def release(self, name: str) -> bool:
        """Take a person's lock back; False when there is none."""
        return bool(await self._freed(("release",), name=name))

    async def all(self) -> list[dict[str, Any]]:
        """Every lock with its holder."""
        with translated("reading locks"):
            async with self._pool.connection() as connection:
                return await _rows(connection, "all", {})

    async def waiting(self) -> list[dict[str, Any]]:
        """Who waits, in order, and for whom."""
        with translated("reading the queue of locks"):
            async with self._pool.connection() as connection:
                return await _rows(connection, "waiting", {})

    async def sweep(self) -> list[str]:
        """Remove what a crash left; gives the names."""
        return await self._freed(("sweep", "sweep_queue"))

    async def _freed(self, queries: Sequence[str], **values: Any) -> list[str]:
        with translated(f"{queries[0]} of locks"):
            async with self._pool.connection() as connection, connection.transaction():
                await _rows(connection, "alone", {})
                if not await self._holds(connection):
                    return []
                rows = [row for query in queries for row in await _rows(connection, query, values)]
                names = sorted({name for row in rows for name in row["names"]})
                if names:
                    await _rows(connection, "wake", {"names": names})
                return names

    async def _holds(self, connection: AsyncConnection[Any]) -> bool:
        """Whether the case is in these hands, until the end of the transaction."""
        if self._lease is None:
            return True
        return bool(await _rows(connection, "held", {"case": self._lease.case.id, "fence": self._lease.fence}))


async def _rows(connection: AsyncConnection[Any], query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(SQL[query], values)
    rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
    return rows


def _held(row: dict[str, Any]) -> str:
    where = f" of case {row['held_case']}" if row["held_case"] else ""
    until: datetime | None = row["until"]
    end = f", until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    return f"{row['held_name']} is held by {row['held_by']}{where} since {row['taken_at']:%H:%M:%S} UTC{end}"


def _waited_for(row: dict[str, Any]) -> str:
    said = f"{row['after_reason']} of case {row['after_case']} waits for {row['after_name']} longer"
    return f"{said}, since {row['after_since']:%H:%M:%S} UTC"
