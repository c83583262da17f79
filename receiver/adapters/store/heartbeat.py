"""Signs of life: workers' heartbeats, the counts behind the metrics page, and whether a write would work."""

from __future__ import annotations

from typing import Any

from psycopg import Rollback
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load

SQL = load("heartbeat")


class Heartbeats:
    """What the metrics page asks of `workers`, sites and cases."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def workers(self) -> list[dict[str, Any]]:
        """Every worker with its counts and its silence."""
        return (await self._read("workers"))["workers"]

    async def snapshot(self) -> dict[str, Any]:
        """Workers, sites, case counts, schedules, slots and locks, for the metrics page."""
        found = await self._read("workers", "sites", "case_counts", "schedules", "totals")
        named = {"workers": "workers", "sites": "sites", "cases": "case_counts", "schedules": "schedules"}
        return {key: found[name] for key, name in named.items()} | next(iter(found["totals"]), {})

    async def _read(self, *names: str) -> dict[str, list[dict[str, Any]]]:
        with translated("reading signs of life"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                found: dict[str, list[dict[str, Any]]] = {}
                for name in names:
                    await cursor.execute(SQL[name])
                    found[name] = await cursor.fetchall()
                return found

    async def ready(self) -> None:
        """Raises `Unavailable` unless an alert would be stored."""
        with translated("writing a test row"):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(SQL["ready"])
                raise Rollback
