"""Everything that is shown: lists by keyset, cases in the one JSON shape.

Refuses filters and cursors it does not know, naming those it does.
"""

from __future__ import annotations

import heapq
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Case, read_case
from receiver.domain.view import case_view, run_view
from receiver.errors import Refused
from receiver.identity import usual_id
from receiver.ports import Lines, Page

SQL = load("archive")
CASE_FILTERS = ("state", "outcome", "alertname", "entity", "playbook", "source", "needs")
ALERT_FILTERS = ("source", "status", "fingerprint", "alertname", "why")
#: filters that no unreadable piece can meet
_NOT_OF_PIECES = ("status", "fingerprint", "alertname")
MOST = 500
_MOST_DIGITS = 19


class PostgresArchive:
    """The Archive and Logs ports on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def alerts(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """One row per identity, each with its why; among them the pieces that could not be read."""
        values = _values("alerts", filters, ALERT_FILTERS)
        below = _cursor("alerts", cursor, 2)
        limit = max(1, min(limit, MOST))
        alerts: list[dict[str, Any]] = []
        if values["why"] != "unreadable":
            alerts = await self._rows("alerts", before=below[0], limit=limit + 1, **values)
        pieces: list[dict[str, Any]] = []
        if values["why"] in (None, "unreadable") and not any(values[name] for name in _NOT_OF_PIECES):
            pieces = await self._rows("unreadable", before=below[1], limit=limit + 1, source=values["source"])
        # each list keeps its own order by number, so the cursor is one number for each
        merged = list(heapq.merge(alerts, pieces, key=lambda row: row["received_at"], reverse=True))
        taken = merged[:limit]
        for row in taken:
            below[1 if "position" in row else 0] = row["number"]
        following = ".".join("" if number is None else str(number) for number in below)
        return Page(items=tuple(taken), next=following if len(merged) > limit else None)

    async def cases(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """Short rows, newest first."""
        values = _values("cases", filters, CASE_FILTERS)
        if values["needs"] not in (None, "you"):
            raise Refused(f"listing cases: needs is {values['needs']!r:.40}", next_step="needs=you", reason="filter")
        (before,) = _cursor("cases", cursor, 1)
        limit = max(1, min(limit, MOST))
        rows = await self._rows("cases", before=before, limit=limit + 1, **values)
        following = str(rows[limit - 1]["number"]) if len(rows) > limit else None
        return Page(items=tuple(rows[:limit]), next=following)

    async def case(self, id: str) -> dict[str, Any] | None:
        """The whole case with its events and attempts."""
        rows = await self._rows("case", id=usual_id(id)) if usual_id(id) else []
        if not rows:
            return None
        events = await self._rows("events", id=rows[0]["id"], after=-1)
        attempts = await self._rows("attempts", id=rows[0]["id"])
        return case_view(read_case(rows[0]["body"]), rows[0], events, attempts)

    async def events(self, id: str, *, after: int) -> list[dict[str, Any]]:
        """Events of a case with a number above `after`."""
        return await self._rows("events", id=usual_id(id), after=after) if usual_id(id) else []

    async def stored(self, id: str) -> Case | None:
        """The case as the stages know it."""
        rows = await self._rows("case", id=usual_id(id)) if usual_id(id) else []
        return read_case(rows[0]["body"]) if rows else None

    async def case_of_proposal(self, repository: str, number: int) -> str | None:
        """The id of the case behind a pull request."""
        rows = await self._rows("case_of_proposal", repository=repository, number=number)
        return rows[0]["id"] if rows else None

    async def entities(self) -> list[dict[str, Any]]:
        """One row per thing that had a case."""
        return await self._rows("entities")

    async def run(self, id: str) -> dict[str, Any] | None:
        """A run by run id, with all its attempts."""
        rows = await self._rows("run", id=usual_id(id)) if usual_id(id) else []
        return run_view(rows) if rows else None

    async def run_log(
        self, id: str, *, after: int = -1, limit: int = 1000, tail: bool = False, of: Lines | None = None
    ) -> list[dict[str, Any]]:
        """Events of the run's latest attempt with a number above `after`; with `tail` the last ones."""
        chosen = of or Lines()
        attempt = usual_id(chosen.attempt) if chosen.attempt else None
        if not usual_id(id) or (chosen.attempt and not attempt):
            return []
        return await self._rows(
            "run_log_tail" if tail else "run_log", id=usual_id(id), after=after, limit=min(limit, 10_000),
            attempt=attempt, host=_text(chosen.host), kinds=list(chosen.kinds) or None, word=_text(chosen.word),
        )  # fmt: skip

    async def run_case(self, id: str) -> dict[str, Any] | None:
        """The case of a run, also of one that was never begun."""
        rows = await self._rows("run_case", id=usual_id(id)) if usual_id(id) else []
        return rows[0] if rows else None

    async def run_tally(self, id: str) -> list[dict[str, Any]]:
        """Counts of the latest attempt by host and kind of event."""
        return await self._rows("run_tally", id=usual_id(id)) if usual_id(id) else []

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"reading {name}"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall()
                return rows


def _text(said: str) -> str | None:
    """What the database can compare; nothing was asked for: None."""
    return said.replace("\x00", "\ufffd") or None


def _values(name: str, filters: dict[str, str], known: tuple[str, ...]) -> dict[str, str | None]:
    unknown = sorted(set(filters) - set(known))
    if unknown:
        raise Refused(
            f"listing {name}: there is no filter {unknown[0]!r:.60}",
            next_step=f"use {', '.join(known)}",
            reason="filter",
        )
    # as the inbox stores it, so that what holds a NUL can be found
    return {key: filters[key].replace("\x00", "\ufffd") if key in filters else None for key in known}


def _cursor(name: str, cursor: str | None, numbers: int) -> list[int | None]:
    parts = cursor.split(".") if cursor else [""] * numbers
    if len(parts) != numbers or not all(
        part == "" or (part.isascii() and part.isdigit() and len(part) < _MOST_DIGITS) for part in parts
    ):
        raise Refused(f"listing {name}: {cursor!r:.40} is no cursor", reason="cursor")
    return [int(part) if part else None for part in parts]
