"""What a person's word changes in the store; who may say it is decided before, in `doors.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.cases import row_of
from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Planned
from receiver.domain.outcome import Role
from receiver.errors import Conflict
from receiver.identity import usual_id
from receiver.ports import Event

SQL = load("desk")


def opening_of(case: Planned, events: Sequence[Event]) -> dict[str, Any]:
    """What the statement `open` is given."""
    alert = case.alert
    return row_of(case, events, role=Role.PLAN) | {
        "source": alert.source if alert else None, "fingerprint": alert.fingerprint if alert else None,
        "alertname": alert.name if alert else None, "severity": alert.severity_rank if alert else 1,
    }  # fmt: skip


class PostgresDesk:
    """The Desk port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def open(self, case: Planned, events: Sequence[Event]) -> None:
        """A case that a person began; `Conflict` when its alert has an open one."""
        if not await self._rows("open", **opening_of(case, events)):
            raise Conflict("opening a case: its alert has an open case already")

    async def note(self, case: str, event: Event, *, wake: bool = False) -> None:
        """Add one line to a case's timeline, and wake it."""
        values = {"case": case, "wake": wake, "kind": event.kind, "actor": event.actor, "text": event.text}
        await self._rows("note", **values, data=Jsonb(event.data))

    async def wake(self, case: str) -> None:
        """It is due now, without a word on its timeline."""
        await self._rows("wake", case=case)

    async def cancel(self, run: str, actor: str) -> bool:
        """Ask a live run to stop, or keep an approved one from beginning; False when it is neither."""
        known = usual_id(run)
        rows = await self._rows("call_off", run=known, actor=actor) if known else []
        rows += await self._rows("cancel", run=known, actor=actor) if known else []
        for row in rows:
            await self.note(row["case_id"], Event(kind="run.cancel_asked", actor=actor, text=f"cancel run {run}"))
        return bool(rows)

    async def accept(self, old: str, new: str, digest: str, *, person: str, via: str) -> tuple[str, ...]:
        """Record one person's word for a revision; everybody's so far, in order."""
        values = {"old": old, "new": new, "digest": digest}
        await self._rows("accept", **values, person=person, via=via)
        return tuple(row["person"] for row in await self._rows("accepted_by", **values))

    async def adopt(self, commit: str, *, old: str | None, digest: str, actor: str) -> None:
        """Put a revision in force (rule S4)."""
        await self._rows("adopt", commit=commit, old=old, digest=digest, actor=actor)

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} at the desk"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows
