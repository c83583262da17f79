"""Webhook deliveries of the forge: each once, and the case that waits for its pull request is due at once.

Decides nothing about a case: whoever is woken reads the forge itself. Deliveries are forgotten after 90 days; who
pushed an older head is then for the forge to say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.delivery import Delivery

SQL = load("deliveries")
#: the channel on which a new delivery is told, with the repository as payload
CHANNEL = "gitmedic_forge"


class PostgresDeliveries:
    """The Deliveries port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, delivery: Delivery) -> bool:
        """Keep it and wake the case that waits for its pull request; False when it was taken before."""
        return bool(await self._rows("take", **delivery.model_dump()))

    async def since(self, forge: str, repository: str, moment: datetime) -> list[Delivery]:
        """What came after this moment by the database's clock, oldest first."""
        rows = await self._rows("since", forge=forge, repository=repository, moment=moment)
        return [Delivery(**row) for row in rows]

    async def sweep(self) -> None:
        """Forget the old ones."""
        await self._rows("sweep")

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} of webhook deliveries"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                return await cursor.fetchall() if cursor.description else []
