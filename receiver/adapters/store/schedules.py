"""Planned moments of schedules: a row for each, and the cases that came of it in the same commit.

Decides by a unique key that a moment goes off once, however many planners look at it, and by the database's clock what
is now. Refuses nothing; who may ask for one is decided before, in `agenda.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.desk import SQL as OPENING
from receiver.adapters.store.desk import opening_of
from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Planned
from receiver.domain.timetable import Moment
from receiver.errors import Conflict, Refused
from receiver.ports import Event, Page

SQL = load("schedules")
_MOST, _MOST_DIGITS = 500, 19


class PostgresSchedules:
    """The Schedules and Timetables ports on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def keep(self, names: Sequence[str]) -> None:
        """Forget the marks of all others."""
        await self._rows("keep", names=list(names))

    async def since(self, name: str, rule: str) -> datetime:
        """Up to when every moment has its row; now, for a new schedule or a new rule."""
        rows = await self._rows("since", name=name, rule=rule) or await self._rows("begin", name=name, rule=rule)
        at: datetime = rows[0]["since"]
        return at

    async def passed(self, name: str, upto: datetime, next_at: datetime | None) -> None:
        """Every moment up to then has its row."""
        await self._rows("passed", name=name, upto=upto, next_at=next_at)

    async def file(self, moment: Moment, cases: Sequence[Planned]) -> bool:
        """The row and its cases in one commit; False when somebody else filed this moment before.

        Cases of a schedule are filed one after the other, so that none is opened beside one that is still open.
        """
        values = moment.model_dump() | {"cases": [case.id for case in cases]}
        with translated(f"filing a moment of schedule {moment.schedule}"):
            async with self._pool.connection() as connection, connection.transaction():
                if cases:
                    await connection.execute(SQL["alone"], values)
                    still = await (await connection.execute(SQL["open_case"], values)).fetchone()
                    if still is not None:
                        raise Conflict(f"case {still[0]} of its last run is open")
                if await (await connection.execute(SQL["file"], values)).fetchone() is None:
                    return False
                for case in cases:
                    event = Event(kind="case.planned", actor=moment.by, text=case.plan.why)
                    await connection.execute(OPENING["open"], opening_of(case, [event]))
        return True

    async def marks(self) -> list[dict[str, Any]]:
        """One row per schedule that is known: its last and its next moment."""
        return await self._rows("marks")

    async def moments(self, name: str | None, *, limit: int, cursor: str | None) -> Page:
        """Rows, newest first, each with its cases."""
        if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < _MOST_DIGITS):
            raise Refused(f"listing moments: {cursor!r:.40} is no cursor", reason="cursor")
        limit = max(1, min(limit, _MOST))
        rows = await self._rows("moments", name=name, before=int(cursor) if cursor else None, limit=limit + 1)
        following = str(rows[limit - 1]["number"]) if len(rows) > limit else None
        return Page(items=tuple(rows[:limit]), next=following)

    async def _rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{query} of schedules"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[query], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows
