"""What models have cost, kept in PostgreSQL so that every planner of an installation shares one budget.

Decides what a day is: midnight to midnight in UTC, by the database's clock. Fails closed: a sum that cannot be read
is `Unavailable`, never zero.
"""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.plan import Attempt
from receiver.ports import Spent

SQL = load("purse")


class PostgresPurse:
    """The Purse port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def spent(self, case: str) -> Spent:
        """Today and for this case."""
        with translated("reading what models have cost"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["spent"], {"case": case})
                return Spent.model_validate(await cursor.fetchone())

    async def book(self, case: str, attempt: Attempt) -> None:
        """One row."""
        with translated("keeping what a model has cost"):
            async with self._pool.connection() as connection:
                await connection.execute(SQL["book"], {"case": case, **attempt.model_dump()})
