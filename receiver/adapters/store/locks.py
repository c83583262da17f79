"""One change at a time per host: named locks as rows, taken all or none, in one order (promise P8).

Decides who goes first. A waiting run is told who holds the lock and why. `hold` and `release` are the same
locks by a person's hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Rollback
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load

SQL = load("locks")


class PostgresLocks:
    """The Locks port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, run: str, case: str, names: Sequence[str], reason: str = "") -> str | None:
        """None when all are ours (again), else who holds the first that is not."""
        wanted = sorted(set(names))
        values = {"run": run, "case": case, "names": wanted, "reason": reason or f"run {run}"}
        with translated("taking locks"):
            async with self._pool.connection() as connection:
                holder: str | None = None
                async with connection.transaction():
                    cursor = connection.cursor(row_factory=dict_row)
                    await cursor.execute(SQL["take"], values)
                    if len(await cursor.fetchall()) < len(wanted):
                        await cursor.execute(SQL["holders"], values)
                        rows = await cursor.fetchall()
                        holder = _said(rows[0]) if rows else "another run, a moment ago"
                        raise Rollback
                return holder

    async def free(self, run: str) -> None:
        """Give back what this run holds, and wake who waits."""
        await self._rows("free", run=run)

    async def hold(self, name: str, reason: str) -> bool:
        """A person's lock; False when it is taken."""
        return bool(await self._rows("hold", name=name, reason=reason))

    async def release(self, name: str) -> bool:
        """Take a person's lock back; False when there is none."""
        return bool(await self._rows("release", name=name))

    async def all(self) -> list[dict[str, Any]]:
        """Every lock with its holder."""
        return await self._rows("all")

    async def sweep(self) -> list[str]:
        """Remove what a crash left; gives the names."""
        return [row["name"] for row in await self._rows("sweep")]

    async def _rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{query} of locks"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[query], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows


def _said(row: dict[str, Any]) -> str:
    where = f" of case {row['case_id']}" if row["case_id"] else ""
    return f"{row['name']} is held by {row['reason']}{where} since {row['taken_at']:%H:%M:%S} UTC"
