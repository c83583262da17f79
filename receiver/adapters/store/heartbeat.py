"""Signs of life: workers' heartbeats, the counts behind the metrics page, and whether a write would work."""

from __future__ import annotations

from typing import Any

from psycopg import Rollback
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load

SQL = load("heartbeat")


class Heartbeats:
    """Rows of `workers`, and what the metrics page asks."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def beat(self, name: str, roles: str, version: str, metrics: dict[str, Any]) -> None:
        """This worker lives; its counts so far."""
        values = {"name": name, "roles": roles, "version": version, "metrics": Jsonb(metrics)}
        with translated("noting a sign of life"):
            async with self._pool.connection() as connection:
                await connection.execute(SQL["beat"], values)
                await connection.execute(SQL["forget_silent"])

    async def snapshot(self) -> dict[str, Any]:
        """Workers, case counts, slots and locks, for the metrics page."""
        with translated("reading the metrics"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                found: dict[str, Any] = {}
                for key, name in (("workers", "workers"), ("cases", "case_counts")):
                    await cursor.execute(SQL[name])
                    found[key] = await cursor.fetchall()
                await cursor.execute(SQL["totals"])
                return found | (await cursor.fetchone() or {})

    async def ready(self) -> None:
        """Raises `Unavailable` unless an alert would be stored."""
        with translated("writing a test row"):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(SQL["ready"])
                raise Rollback
