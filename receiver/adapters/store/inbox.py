"""Deliveries become durable rows, alerts and cases, in one commit for a whole batch of requests.

Decides what is new, what repeats and what opens a case. Refuses nothing: a request whose rows the database
will not take is kept raw, with an `unreadable` row that says why, and never fails its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translate, translated
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert, Delivery, Unreadable, no_case_reason, read_delivery
from receiver.domain.case import Received
from receiver.identity import new_id
from receiver.ports import Post, Receipt

SQL = load("inbox")
#: the statement, not the connection, is at fault: cardinality, data and integrity errors
_DATA_ERRORS = ("21", "22", "23")


class PostgresInbox:
    """The Inbox port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, drop_labels: dict[str, frozenset[str]] | None = None) -> None:
        self._pool = pool
        self._drop_labels = drop_labels or {}
        self._connected_at: dict[str, datetime] = {}

    async def connect(self, sources: Sequence[str]) -> None:
        """Note the moment each source was first connected; what fired before stays a row."""
        with translated("noting the sources"):
            async with self._pool.connection() as connection:
                for name in sources:
                    await connection.execute(SQL["connect_source"], {"name": name})
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL["sources"])
                self._connected_at = {row["name"]: row["connected_at"] for row in await cursor.fetchall()}

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        """Store all in one commit; on a data error each on its own, so that one cannot harm another."""
        read = [self._read(post) for post in posts]
        try:
            return await self._commit(posts, read)
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_ERRORS:
                raise translate(error) from error
            if len(posts) > 1:
                return [(await self.store([post]))[0] for post in posts]
            refused = Unreadable(position=-1, reason=f"the database refused it: {error}"[:200])
            return await self._commit(posts, [Delivery(alerts=(), unreadable=(refused,))])

    def _read(self, post: Post) -> Delivery:
        drop = self._drop_labels.get(post.source, frozenset())
        return read_delivery(post.body, source=post.source, drop_labels=drop)

    async def _commit(self, posts: Sequence[Post], read: Sequence[Delivery]) -> list[Receipt]:
        async with self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=dict_row)
            ids = await self._store_deliveries(cursor, posts)
            await self._store_unreadable(cursor, posts, read, ids)
            new = await self._store_alerts(cursor, read)
        return [
            Receipt(
                alerts=len(delivery.alerts),
                new=sum((alert.source, alert.fingerprint, alert.starts_at) in new for alert in delivery.alerts),
                unreadable=len(delivery.unreadable),
            )
            for delivery in read
        ]

    async def _store_deliveries(self, cursor: psycopg.AsyncCursor[dict[str, Any]], posts: Sequence[Post]) -> list[int]:
        columns = {
            "sources": [post.source for post in posts],
            "tokens": [post.token for post in posts],
            "bodies": [post.body for post in posts],
        }
        await cursor.execute(SQL["store_deliveries"], columns)
        return [int(row["id"]) for row in await cursor.fetchall()]

    async def _store_unreadable(
        self,
        cursor: psycopg.AsyncCursor[dict[str, Any]],
        posts: Sequence[Post],
        read: Sequence[Delivery],
        ids: Sequence[int],
    ) -> None:
        rows = [
            {"delivery_id": id_, "source": post.source, "position": piece.position, "reason": piece.reason}
            for post, delivery, id_ in zip(posts, read, ids, strict=True)
            for piece in delivery.unreadable
        ]
        if rows:
            await cursor.execute(SQL["store_unreadable"], {"rows": _json(rows)})

    async def _store_alerts(
        self, cursor: psycopg.AsyncCursor[dict[str, Any]], read: Sequence[Delivery]
    ) -> set[tuple[str, str, datetime]]:
        """Upsert all identities of the batch; open cases for the new ones. Gives the new identities."""
        alerts, seen = _merged(read)
        if not alerts:
            return set()
        rows = [self._row(alert, seen[key]) for key, alert in sorted(alerts.items())]
        await cursor.execute(SQL["store_alerts"], {"rows": _json(rows)})
        stored = await cursor.fetchall()
        await self._open_cases(cursor, stored, alerts)
        resolved = [row["case_id"] for row in stored if row["status"] == "resolved" and row["case_id"]]
        if resolved:
            await cursor.execute(SQL["wake_resolved"], {"cases": resolved})
        return {_key(row) for row in stored if row["is_new"]}

    async def _open_cases(
        self,
        cursor: psycopg.AsyncCursor[dict[str, Any]],
        stored: Sequence[dict[str, Any]],
        alerts: dict[tuple[str, str, datetime], Alert],
    ) -> None:
        given = [_case_row(row["id"], alerts[_key(row)]) for row in stored if row["is_new"] and row["why"] is None]
        if given:
            await cursor.execute(SQL["open_cases"], {"rows": _json(given)})
            await cursor.execute(SQL["link_alerts"], {"rows": _json(given)})

    def _row(self, alert: Alert, times_seen: int) -> dict[str, Any]:
        connected_at = self._connected_at.get(alert.source, datetime.min.replace(tzinfo=UTC))
        row = alert.model_dump(mode="json", exclude={"ends_at"})
        ends_at = alert.ends_at.isoformat() if alert.ends_at else None
        why = no_case_reason(alert, connected_at=connected_at)
        return row | {"ends_at": ends_at, "times_seen": times_seen, "why": why}


def _merged(
    read: Sequence[Delivery],
) -> tuple[dict[tuple[str, str, datetime], Alert], dict[tuple[str, str, datetime], int]]:
    """One alert per identity over the whole batch (the later word wins, `resolved` over all), and counts."""
    alerts: dict[tuple[str, str, datetime], Alert] = {}
    seen: dict[tuple[str, str, datetime], int] = {}
    for delivery in read:
        for alert in delivery.alerts:
            key = (alert.source, alert.fingerprint, alert.starts_at)
            seen[key] = seen.get(key, 0) + 1
            if key not in alerts or alert.status == "resolved":
                alerts[key] = alert
    return alerts, seen


def _key(row: dict[str, Any]) -> tuple[str, str, datetime]:
    return row["source"], row["fingerprint"], row["starts_at"].astimezone(UTC)


def _case_row(alert_id: int, alert: Alert) -> dict[str, Any]:
    case = Received(id=new_id(), opened_at=datetime.now(UTC), alert=alert)
    return {
        "id": case.id,
        "alert_id": alert_id,
        "body": case.model_dump(mode="json"),
        "severity": alert.severity_rank,
        "source": alert.source,
        "fingerprint": alert.fingerprint,
        "alertname": alert.name,
    }


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False)
