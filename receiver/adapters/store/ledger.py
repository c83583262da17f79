"""Counts, limits and outcomes over all cases.

Decides whether there is room for one more proposal. Fails closed: a count that cannot be taken is
`Unavailable`, never zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert
from receiver.domain.case import TURNED_DOWN, Closed
from receiver.domain.entity import Entity
from receiver.domain.history import History, Past, Track
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Limits
from receiver.errors import Refused

SQL = load("ledger")


class PostgresLedger:
    """The Ledger port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._instance: str | None = None

    async def now(self) -> Any:
        """The database's clock."""
        return (await self._one("now"))["now"]

    async def history(self, alert: Alert, entity: Entity | None, limits: Limits, case: str, opened_at: Any) -> History:
        """The past of one alert, without the case that asks."""
        row = await self._one(
            "history",
            alertname=alert.name,
            source=alert.source,
            fingerprint=alert.fingerprint,
            starts_at=alert.starts_at,
            entity=entity.name if entity else None,
            case=case,
            opened_at=opened_at,
            storm_seconds=limits.storm_seconds,
        )
        return History(**row)

    async def past(self, alert: Alert, entity: Entity | None, case: str) -> Past:
        """Outcomes by playbook, of the newest 500 cases."""
        values = {"alertname": alert.name, "source": alert.source, "entity": entity.name if entity else None}
        with translated("reading the past"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["past"], values | {"case": case})
                rows = await cursor.fetchall()
        counts: dict[str, dict[str, int]] = {"failed": {}, "fixed": {}, "rejected": {}, "self_resolved": {}}
        for row in rows:
            counts[row["what"]][row["playbook"]] = row["count"]
        resolved = sum(counts.pop("self_resolved").values())
        return Past(self_resolved=resolved, **counts)

    async def take_slot(self, case: str, limits: Limits) -> str | None:
        """Take a slot under a lock; None when it is taken, else which limit says no."""
        with translated("taking a proposal slot"):
            async with self._pool.connection() as connection, connection.transaction():
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["slot_lock"])
                await cursor.execute(SQL["slot_counts"], {"case": case})
                counts = await cursor.fetchone() or {}
                if counts["mine"]:
                    return None
                if counts["open"] >= limits.open_proposals:
                    return f"{counts['open']} proposals are open, {limits.open_proposals} is the limit"
                if counts["hour"] >= limits.proposals_per_hour:
                    return f"{counts['hour']} proposals within an hour, {limits.proposals_per_hour} is the limit"
                await cursor.execute(SQL["take_slot"], {"case": case})
                return None

    async def learn(self, case: Closed) -> None:
        """Keep the outcome once, free the slot, wake who waits for it."""
        ended = case.result.ended_at if case.result else case.opened_at
        with translated("keeping an outcome"):
            async with self._pool.connection() as connection:
                await connection.execute(
                    SQL["learn"],
                    {
                        "case": case.id,
                        "alertname": case.alert.name if case.alert else "",
                        "entity": case.entity.name if case.entity else "",
                        "playbook": (case.plan.playbook if case.plan else "") or "",
                        "outcome": str(case.outcome),
                        "seconds": (ended - case.opened_at).total_seconds(),
                        "source": case.alert.source if case.alert else "",
                        "params": case.plan.digest if case.plan else "",
                        "why": case.why,
                        "is_turned_down": case.reason == TURNED_DOWN and case.alert is not None,
                    },
                )

    async def turned_down(self, alert: Alert, entity: Entity | None, plan: Plan) -> datetime | None:
        """When somebody who may approve last said no to just this (rule S18)."""
        row = await self._one(
            "turned_down",
            source=alert.source,
            alertname=alert.name,
            entity=entity.name if entity else "",
            playbook=plan.playbook or "",
            params=plan.digest,
        )
        at: datetime | None = row["at"]
        return at

    async def paused(self) -> str | None:
        """The reason that somebody gave with `gitmedic pause`; a missing row counts as paused."""
        row = await self._row("paused")
        if row is None:
            return "this database has no installation row: start gitmedic up once"
        return f"paused: {row['paused']}" if row["paused"] else None

    async def fresh_since(self) -> Any:
        """Since when this instance has lived without a silence, a move or a restore (rule S2)."""
        row = await self._row("fresh_since", id=self._instance)
        if row is None or row["since"] is None:
            raise Refused("reading the instances: no row", next_step="start gitmedic up once")
        return row["since"]

    async def appear(self, instance: str) -> None:
        """Say that this instance lives; after a silence, or as another one, what was approved is stale for it."""
        with translated("noting the instance"):
            async with self._pool.connection() as connection:
                await connection.execute(SQL["appear"], {"id": instance})
        self._instance = instance

    async def pause(self, why: str | None) -> None:
        """Nothing starts until it is taken back with None."""
        with translated("pausing"):
            async with self._pool.connection() as connection:
                await connection.execute(SQL["pause"], {"why": why})

    async def adopted(self) -> str:
        """The commit in force (rule S4)."""
        row = await self._row("adopted")
        if row is None:
            raise Refused("reading the adopted revision: none was ever adopted", next_step="gitmedic init DIR")
        return str(row["commit"])

    async def track(self, alertname: str, playbook: str) -> Track:
        """What became of this playbook's earlier runs for this alert name, on anything."""
        return Track(**await self._one("track", alertname=alertname, playbook=playbook))

    async def _one(self, name: str, **values: Any) -> dict[str, Any]:
        row = await self._row(name, **values)
        assert row is not None, f"{name} gives one row"  # noqa: S101
        return row

    async def _row(self, name: str, **values: Any) -> dict[str, Any] | None:
        with translated(f"reading {name}"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                row: dict[str, Any] | None = await cursor.fetchone()
                return row
