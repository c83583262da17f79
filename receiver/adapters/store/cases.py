"""The case rows, which are the queue: claim under a lease, write under a fence.

Decides who may advance a case. Refuses every write whose fence is not the row's: a worker that lost its lease
changes nothing. Leases and due times compare with the database's clock only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.opening import open_cases
from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.case import Case, Closed, read_case
from receiver.domain.outcome import Role
from receiver.errors import Conflict
from receiver.ports import Event, Lease

SQL = load("cases")
#: a worker renews at a third of this; without a renewal the case is free again
LEASE_SECONDS = 30.0


class PostgresCases:
    """The Cases port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._pool = pool
        self._seconds = lease_seconds

    async def open_stored(self) -> int:
        """A case for each stored alert that waits for one, at most some hundred; how many were looked at."""
        with translated("opening cases"):
            async with self._pool.connection() as connection:
                return await open_cases(connection)

    async def claim(
        self, roles: Sequence[Role], worker: str, *, sites: Sequence[str] = (), seat: int | None = None
    ) -> Lease | None:
        """The most severe, then the longest due case of these sites; None when nothing is due, or the seat is lost."""
        row = await self._one(
            "claim", roles=[str(role) for role in roles], worker=worker, seconds=self._seconds, sites=list(sites),
            seat=seat,
        )  # fmt: skip
        if row is None:
            return None
        return Lease(
            case=read_case(row["body"]), fence=row["fence"], until=row["lease_until"], seconds=self._seconds,
            revived=row["revived"],
        )  # fmt: skip

    async def renew(self, lease: Lease) -> bool:
        """Hold the case longer; False when somebody else has it."""
        row = await self._one("renew", id=lease.case.id, fence=lease.fence, seconds=lease.seconds)
        return row is not None

    async def holds(self, lease: Lease) -> bool:
        """Whether the case is still in these hands."""
        return await self._one("holds", id=lease.case.id, fence=lease.fence) is not None

    async def save(self, lease: Lease, case: Case, events: Sequence[Event], *, role: Role) -> None:
        """Store the next kind with its events, in one commit."""
        values = row_of(case, events, role=role) | {"fence": lease.fence}
        with translated("save of a case"):
            async with self._pool.connection() as connection, AsyncExitStack() as commit:
                if values["comes_again"]:
                    await commit.enter_async_context(connection.transaction())
                written = await (await connection.execute(SQL["save"], values)).fetchone()
                if written is None:
                    raise Conflict(f"saving case {case.id} as {case.kind}: its lease was lost")
                if values["comes_again"]:
                    await connection.execute(SQL["again"], values)

    async def put_off(self, lease: Lease, *, at: datetime | None, after_seconds: float, why: str) -> bool:
        """Leave the case as it is, due later. A lost lease is no matter: somebody else has it."""
        row = await self._one(
            "put_off", id=lease.case.id, fence=lease.fence, at=at, seconds=after_seconds, why=why[:500]
        )
        return bool(row and row["is_news"])

    async def _one(self, name: str, **values: Any) -> dict[str, Any] | None:
        with translated(f"{name} of a case"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                row: dict[str, Any] | None = await cursor.fetchone()
                return row


def row_of(case: Case, events: Sequence[Event], *, role: Role) -> dict[str, Any]:
    """The columns of a case: its body, and copies for questions about many cases."""
    runfile, plan = getattr(case, "runfile", None), getattr(case, "plan", None)
    proposal, entity = getattr(case, "proposal", None), getattr(case, "entity", None)
    return {
        "id": case.id,
        "kind": case.kind,
        "body": Jsonb(case.model_dump(mode="json")),
        "role": str(role),
        # where its targets are, once there are any; until then where its trouble is
        "site": getattr(case, "site", "") or (entity.site if entity else ""),
        "entity": entity.name if entity else None,
        "playbook": plan.playbook if plan else None,
        "run": runfile.run if runfile else None,
        "proposal": proposal.number if proposal else None,
        "repository": proposal.key or None if proposal else None,
        "outcome": str(case.outcome) if case.kind in ("ended", "closed") else None,
        "why": case.why if case.kind in ("ended", "closed") else "",
        "reason": case.reason if case.kind in ("ended", "closed") else None,
        "is_open": case.kind != "closed",
        "comes_again": isinstance(case, Closed) and case.comes_again,
        "events": Jsonb(json.loads(f"[{','.join(event.model_dump_json() for event in events)}]")),
    }
