"""What was already looked at on the forge: until when, and which heads of people's own pull requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.identity import usual_id
from receiver.ports import Turn

SQL = load("watchbook")


class PostgresWatchbook:
    """The Watchbook port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def begin(self, repository: str, seconds: float) -> Turn | None:
        """Take the turn to look, for so long at most; None while somebody else has it."""
        rows = await self._rows("begin", repository=repository, seconds=seconds)
        return Turn(**rows[0]) if rows else None

    async def done(self, repository: str, at: datetime | None) -> None:
        """Give the turn back; everything was seen up to `at`, never back. None: it was not."""
        await self._rows("done", repository=repository, at=at)

    async def seen(self, repository: str, number: int, head_sha: str) -> bool:
        """Whether this head of a person's pull request was looked at."""
        return bool(await self._rows("seen", repository=repository, number=number, head_sha=head_sha))

    async def keep(self, repository: str, number: int, head_sha: str, *, case: str | None, why: str) -> None:
        """It was; the case that it became, or why none. The first word stays."""
        values = {"repository": repository, "number": number, "head_sha": head_sha, "case": case, "why": why[:500]}
        await self._rows("keep", **values)

    async def is_known(self, run: str, case: str) -> bool:
        """Whether there is a case of this id, or one of this run. An id that is none counts as used."""
        known = usual_id(run), usual_id(case)
        return None in known or bool(await self._rows("is_known", run=known[0], case=known[1]))

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} of the forge's watch"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                return await cursor.fetchall() if cursor.description else []
