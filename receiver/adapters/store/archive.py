"""Everything that is shown: lists by keyset, cases in the one JSON shape.

Refuses filters and cursors it does not know, naming those it does.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Case, read_case
from receiver.domain.view import case_view, run_view
from receiver.errors import Refused
from receiver.ports import Page

SQL = load("archive")
CASE_FILTERS = ("state", "outcome", "alertname", "entity", "playbook", "source", "needs")
ALERT_FILTERS = ("source", "status", "fingerprint", "alertname", "why")
MOST = 500


class PostgresArchive:
    """The Archive port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def alerts(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """One row per identity, each with its why; `why=unreadable` lists the pieces that were none."""
        name = "unreadable" if filters.get("why") == "unreadable" else "alerts"
        page = await self._page(name, limit, cursor, filters, ALERT_FILTERS)
        if name == "alerts":
            return page
        items = tuple(
            {**item, "why": "unreadable", "why_text": item["reason"], "labels": {}, "case": None} for item in page.items
        )
        return Page(items=items, next=page.next)

    async def cases(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """Short rows, newest first."""
        return await self._page("cases", limit, cursor, filters, CASE_FILTERS)

    async def case(self, id: str) -> dict[str, Any] | None:
        """The whole case with its events and attempts."""
        rows = await self._rows("case", id=_uuid(id)) if _uuid(id) else []
        if not rows:
            return None
        events = await self._rows("events", id=id, after=-1)
        attempts = await self._rows("attempts", id=id)
        return case_view(read_case(rows[0]["body"]), rows[0], events, attempts)

    async def events(self, id: str, *, after: int) -> list[dict[str, Any]]:
        """Events of a case with a number above `after`."""
        return await self._rows("events", id=id, after=after) if _uuid(id) else []

    async def stored(self, id: str) -> Case | None:
        """The case as the stages know it."""
        rows = await self._rows("case", id=_uuid(id)) if _uuid(id) else []
        return read_case(rows[0]["body"]) if rows else None

    async def case_of_proposal(self, number: int) -> str | None:
        """The id of the case behind a pull request."""
        rows = await self._rows("case_of_proposal", number=number)
        return rows[0]["id"] if rows else None

    async def run(self, id: str) -> dict[str, Any] | None:
        """A run by run id, with all its attempts."""
        rows = await self._rows("run", id=_uuid(id)) if _uuid(id) else []
        return run_view(rows) if rows else None

    async def run_log(self, id: str, *, after: int = -1, limit: int = 1000) -> list[dict[str, Any]]:
        """Events of the run's latest attempt with a number above `after`."""
        return await self._rows("run_log", id=id, after=after, limit=min(limit, 10_000)) if _uuid(id) else []

    async def _page(
        self, name: str, limit: int, cursor: str | None, filters: dict[str, str], known: tuple[str, ...]
    ) -> Page:
        unknown = sorted(set(filters) - set(known))
        if unknown:
            raise Refused(
                f"listing {name}: there is no filter {unknown[0]!r}",
                next_step=f"use {', '.join(known)}",
                reason="filter",
            )
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise Refused(f"listing {name}: {cursor!r:.40} is no cursor", reason="cursor")
        limit = max(1, min(limit, MOST))
        values = {key: filters.get(key) for key in known}
        rows = await self._rows(name, before=int(cursor) if cursor else None, limit=limit + 1, **values)
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(items=tuple(rows), next=str(rows[-1]["number"]) if more else None)

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"reading {name}"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall()
                return rows


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
