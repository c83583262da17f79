"""The operator's side of the memory: notes of their own, what is kept, what became of an alert, and forgetting.

Decides what a note may be. It is recalled as what somebody said, with its author, and is never evidence. Refuses
nothing to be forgotten, and forgets nothing without a line about who did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.recall import MAX_NOTE, clean_name, words
from receiver.domain.text import plain
from receiver.errors import Refused
from receiver.identity import new_id
from receiver.ports import Page

SQL = load("memory")


class PostgresNotebook:
    """Rows of the memory, for people."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def add(self, text: str, *, author: str, alertname: str = "", tags: Sequence[str] = ()) -> dict[str, Any]:
        """An operator's note; raises `Refused` when there is nothing in it, or too much."""
        text = plain(text, MAX_NOTE + 1).strip()
        if not text or len(text) > MAX_NOTE:
            said = f"it has more than {MAX_NOTE} characters" if text else "it is empty"
            raise Refused(f"adding a note: {said}", next_step='gitmedic memory add "what to know"', reason="invalid")
        name = clean_name(alertname)
        head = " ".join([*words(name), *(word for tag in tags for word in words(tag))])
        rows = await self._rows(
            "note", id=new_id(), text=text, alertname=name, author=author, tags=list(tags), head=head,
            body=" ".join([*words(name), *words(text)]),
        )  # fmt: skip
        return rows[0]

    async def page(self, *, limit: int, cursor: str | None, kind: str | None = None, tag: str | None = None) -> Page:
        """Newest first; `kind` is `case` or `note`."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise Refused(
                f"listing the memory: {cursor!r:.40} is no cursor", next_step="gitmedic memory list", reason="cursor"
            )
        before = int(cursor) if cursor else None
        rows = await self._rows("page", before=before, kind=kind, tag=tag, limit=limit + 1)
        following = str(rows[limit - 1]["number"]) if len(rows) > limit else None
        return Page(items=tuple(rows[:limit]), next=following)

    async def one(self, id: str) -> dict[str, Any] | None:
        """Everything that is kept under this id."""
        rows = await self._rows("one", id=id) if _is_uuid(id) else []
        return rows[0] if rows else None

    async def history(self, alertname: str, limit: int = 50) -> dict[str, list[dict[str, Any]]]:
        """What became of the cases of this alert, how often each, and what was taken out of the memory."""
        name = clean_name(alertname)
        return {
            "tally": await self._rows("tally", alertname=name),
            "items": await self._rows("history", alertname=name, limit=limit),
            "forgotten": await self._rows("forgotten", alertname=name, limit=limit),
        }

    async def forget(self, id: str, *, by: str, reason: str = "") -> dict[str, Any] | None:
        """Take it out and note who did; what was taken out, or None when there is none."""
        rows = await self._rows("forget", id=id, by=by, reason=plain(reason, 200)) if _is_uuid(id) else []
        return rows[0] if rows else None

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} of the memory"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall()
                return rows


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
