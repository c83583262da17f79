"""Sites and whether an executor lives there: an outage is said once, on every case that waits, and taken back.

Decides that a site is unserved only after some patience: an executor that is started again is not missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.ports import Outage

SQL = load("sites")
#: an executor may be away so long before anybody is told
PATIENCE_SECONDS = 60.0


class PostgresSites:
    """The Sites port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._pool, self._patience = pool, patience_seconds

    async def look(self, names: Iterable[str]) -> list[Outage]:
        """Note who is served; gives the outages that began or ended, each once."""
        values = {"names": sorted(set(names)), "patience": self._patience}
        with translated("looking after the sites"):
            async with self._pool.connection() as connection, connection.transaction():
                cursor = connection.cursor(row_factory=dict_row)
                for name in ("forget_silent", "forget", "look"):
                    await cursor.execute(SQL[name], values)
                await cursor.execute(SQL["news"], values)
                news = sorted((Outage(**row) for row in await cursor.fetchall()), key=lambda one: one.site)
                for name in ("say", "unsay"):
                    await cursor.execute(SQL[name], values)
                return news

    async def unserved(self) -> list[Outage]:
        """The outages of now, of which people were told."""
        with translated("reading the sites"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["unserved"])
                return [Outage(**row) for row in await cursor.fetchall()]
