"""The bookkeeping around a run: clearance, the one beginning, live events, the one end.

Decides that a run begins at most once, by a unique index and not by a check. Refuses a second beginning as
`Conflict`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Case, read_case
from receiver.domain.run import RunEvent, RunResult
from receiver.domain.steps import Step
from receiver.errors import Conflict, Retry
from receiver.identity import new_id
from receiver.ports import Clearance, Lease

SQL = load("runs")
_CUT_SHORT = "the executor died in the middle of the dry run; it is done again"


class PostgresRuns:
    """The Runs, Steps and Clearances ports on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], lease: Lease | None = None) -> None:
        self._pool = pool
        self._lease = lease

    def under(self, lease: Lease) -> PostgresRuns:
        """The same for one case in hand: nothing is begun or asked for once its lease was lost."""
        return PostgresRuns(self._pool, lease)

    async def ask_clearance(self, run: str, case: str) -> Clearance | None:
        """The fresh answer, or None while nobody has answered."""
        rows = await self._rows("ask_clearance", run=run, case=case, fence=self._lease.fence if self._lease else None)
        if not rows:
            raise Conflict(f"asking for a clearance of run {run}: its lease was lost")
        body = rows[0]["body"]
        return Clearance.model_validate(body) if body else None

    async def drop_clearance(self, run: str) -> None:
        """Forget the answer: it was used, or it was no."""
        case, fence = (self._lease.case.id, self._lease.fence) if self._lease else (None, None)
        rows = await self._rows("drop_clearance", run=run, case=case, fence=fence)
        if not rows[0]["is_held"]:
            raise Conflict(f"dropping the clearance of run {run}: its lease was lost")

    async def wanted(self) -> list[Case]:
        """Cases whose executor waits for a word, most severe first."""
        return [read_case(row["body"]) for row in await self._rows("wanted_clearances")]

    async def answer(self, run: str, clearance: Clearance) -> None:
        """Write the word, once per asking."""
        await self._rows("answer_clearance", run=run, body=Jsonb(clearance.model_dump(mode="json")))

    async def begin(
        self, run: str, case: str, mode: Literal["check", "run"], instance: str, *, most: int | None = None
    ) -> str:
        """Record the beginning before there is a process; `most` bounds live rehearsals (rule S5). One that a crash cut
        short ends with the next of its run."""
        attempt = new_id()
        with translated(f"beginning run {run}"):
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    cursor = connection.cursor(row_factory=dict_row)
                    if mode == "check":
                        await cursor.execute(SQL["interrupt_rehearsals"], {"run": run, "why": _CUT_SHORT})
                    if most is not None:
                        await cursor.execute(SQL["rehearsal_lock"])
                        await cursor.execute(SQL["live_rehearsals"])
                        live = (await cursor.fetchone() or {})["count"]
                        if live >= most:
                            raise Retry(f"{live} rehearsals run, {most} is the limit", after_seconds=2)
                    values = {"id": attempt, "run": run, "case": case, "mode": mode, "instance": instance}
                    await cursor.execute(SQL["begin"], values | {"fence": self._lease.fence if self._lease else None})
                    if cursor.rowcount == 0:
                        raise Conflict(f"beginning run {run}: its lease was lost")
            except psycopg.errors.UniqueViolation as error:
                raise Conflict(f"beginning run {run}: it was begun before") from error
        return attempt

    async def record(self, attempt: str, events: Sequence[RunEvent]) -> None:
        """Append; a number seen before is dropped. An attempt that ended by somebody else's word takes no more."""
        rows = [event.model_dump(mode="json") for event in events]
        if not await self._rows("record", attempt=attempt, rows=json.dumps(rows, ensure_ascii=False)):
            raise Conflict(f"recording attempt {attempt}: it was ended by somebody else")

    async def finish(self, attempt: str, result: RunResult) -> None:
        """Record the end, once; a later word changes nothing."""
        body = Jsonb(result.model_dump(mode="json"))
        await self._rows("finish", attempt=attempt, status=result.status, result=body)

    async def cancelled(self, attempt: str) -> bool:
        """Whether a person asked to stop it, or somebody else gave it up; asking also shows that the run is alive."""
        rows = await self._rows("touch", attempt=attempt)
        return not rows or bool(rows[0]["cancel_by"])

    async def attempt_of(self, run: str, mode: Literal["check", "run"]) -> tuple[str, RunResult | None] | None:
        """The last attempt of this run, and its result if it has one."""
        rows = await self._rows("attempt_of", run=run, mode=mode)
        if not rows:
            return None
        result = rows[0]["result"]
        return rows[0]["id"], RunResult.model_validate(result) if result else None

    async def begin_step(self, run: str, number: int, attempt: str, hosts: Sequence[str]) -> None:
        """Record it before its process exists, while the attempt is open."""
        if not await self._rows("begin_step", run=run, step=number, attempt=attempt, hosts=list(hosts)):
            raise Conflict(f"beginning step {number} of run {run}: it was begun before, or its attempt has ended")

    async def end_step(self, run: str, number: int, result: RunResult) -> None:
        """Record its end, once."""
        await self._rows("end_step", run=run, step=number, result=Jsonb(result.model_dump(mode="json")))

    async def steps(self, run: str) -> tuple[Step, ...]:
        """Those that were begun, in order."""
        return tuple(Step.model_validate(row, strict=False) for row in await self._rows("steps", run=run))

    async def called_off(self, run: str) -> str | None:
        """Who said that it must not begin."""
        rows = await self._rows("called_off", run=run)
        return str(rows[0]["cancel_by"]) if rows else None

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name.replace('_', ' ')} of a run"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows
