"""What people said about interrupted runs. Decides that one word settles a case; refuses a second that would."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.desk import SQL as OPENING
from receiver.adapters.store.desk import opening_of
from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Planned
from receiver.domain.proof import Verification
from receiver.domain.resolution import Resolution
from receiver.identity import usual_id
from receiver.ports import Event

SQL = load("resolutions")


class PostgresResolutions:
    """The Resolutions port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def say(self, case: str, word: Resolution, opens: Planned | None = None) -> bool:
        """Keep one word, with the case that it opens; False when the case is settled."""
        values = word.model_dump(mode="json", include={"act", "actor", "reason", "opened", "settles"})
        with translated("saying a resolution"):
            async with self._pool.connection() as connection, connection.transaction():
                if await (await connection.execute(SQL["say"], {"case": case, **values})).fetchone() is None:
                    return False
                if opens is not None:
                    event = Event(kind="case.planned", actor=word.actor, text=opens.plan.why, data={"after": case})
                    await connection.execute(OPENING["open"], opening_of(opens, [event]))
        return True

    async def of(self, case: str) -> tuple[Resolution, ...]:
        """All words about a case, oldest first."""
        rows = await self._rows("of", case=usual_id(case)) if usual_id(case) else []
        return tuple(Resolution.model_validate(row, strict=False) for row in rows)

    async def asked(self) -> list[str]:
        """Cases of which somebody wants to know how things are now."""
        return [str(row["case_id"]) for row in await self._rows("asked")]

    async def answer(self, case: str, verification: Verification, *, settles: bool) -> None:
        """What was seen, for all who asked; it becomes the case's verification, its outcome stays."""
        body = Jsonb(verification.model_dump(mode="json"))
        verdict, why = str(verification.verdict), verification.why
        await self._rows("answer", case=case, body=body, verdict=verdict, why=why, settles=settles)

    async def waiting(self) -> int:
        """How many interrupted runs need a person."""
        return int((await self._rows("waiting"))[0]["count"])

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} of a resolution"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows
