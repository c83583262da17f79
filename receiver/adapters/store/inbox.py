"""Deliveries become durable rows, alerts and cases, in one commit for a whole batch of requests.

Decides what is new, what repeats and what opens a case. Refuses nothing: a request whose rows the database
will not take is kept raw, with an `unreadable` row that says why, and never fails its neighbours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
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
#: read at a time; some milliseconds
_SLICE_BYTES = 32 << 10
#: the statement, not the connection, is at fault: cardinality, data and integrity errors
_DATA_ERRORS = ("21", "22", "23")


class PostgresInbox:
    """The Inbox port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, drop_labels: dict[str, frozenset[str]] | None = None) -> None:
        self._pool = pool
        self._drop_labels = drop_labels or {}
        self._connected_at: dict[str, datetime] = {}
        #: one commit after the other; the next batch is read meanwhile
        self._writing = asyncio.Lock()

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
        read = await self._read_all(posts)
        try:
            return await self._commit(posts, read)
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_ERRORS:
                raise translate(error) from error
            if len(posts) > 1:
                return [(await self.store([post]))[0] for post in posts]
            refused = Unreadable(position=-1, reason=f"the database refused it: {error}"[:200])
            return await self._commit(posts, [Delivery(alerts=(), unreadable=(refused,))])

    async def _read_all(self, posts: Sequence[Post]) -> list[Delivery]:
        """In slices: between them the statements of the commit before go on."""
        read: list[Delivery] = []
        size = 0
        for post in posts:
            read.append(self._read(post))
            size += len(post.body)
            if size > _SLICE_BYTES:
                await asyncio.sleep(0)
                size = 0
        return read

    def _read(self, post: Post) -> Delivery:
        drop = self._drop_labels.get(post.source, frozenset())
        return read_delivery(post.body, source=post.source, drop_labels=drop)

    async def _commit(self, posts: Sequence[Post], read: Sequence[Delivery]) -> list[Receipt]:
        alerts, seen = _merged(read)
        rows = _array(self._row(alert, seen[key]) for key, alert in sorted(alerts.items()))
        # a pipeline: what does not wait for an answer is sent together, so a commit is three exchanges, not seven
        async with (
            self._writing,
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            deliveries = await _send(connection, "store_deliveries", **_columns(posts))
            upsert = await _send(connection, "store_alerts", rows=rows) if alerts else None
            ids = [int(row["id"]) for row in await deliveries.fetchall()]
            await self._store_unreadable(connection, posts, read, ids)
            new = await self._open_cases(connection, await upsert.fetchall(), alerts) if upsert else set()
        return [
            Receipt(
                alerts=len(delivery.alerts),
                new=sum((alert.source, alert.fingerprint, alert.starts_at) in new for alert in delivery.alerts),
                unreadable=len(delivery.unreadable),
            )
            for delivery in read
        ]

    async def _store_unreadable(
        self,
        connection: psycopg.AsyncConnection[Any],
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
            await _send(connection, "store_unreadable", rows=_json(rows))

    async def _open_cases(
        self,
        connection: psycopg.AsyncConnection[Any],
        stored: Sequence[dict[str, Any]],
        alerts: dict[tuple[str, str, datetime], Alert],
    ) -> set[tuple[str, str, datetime]]:
        """Cases for new identities, a look at those that resolved. Gives the new identities."""
        given = [(row["id"], alerts[_key(row)]) for row in stored if row["is_new"] and row["why"] is None]
        if given:
            links, cases = _case_rows(given)
            await _send(connection, "open_cases", rows=_array(cases))
            await _send(connection, "link_alerts", rows=_json(links))
        resolved = [row["case_id"] for row in stored if row["status"] == "resolved" and row["case_id"]]
        if resolved:
            await _send(connection, "wake_resolved", cases=resolved)
        return {_key(row) for row in stored if row["is_new"]}

    def _row(self, alert: Alert, times_seen: int) -> str:
        connected_at = self._connected_at.get(alert.source, datetime.min.replace(tzinfo=UTC))
        added = _json({"times_seen": times_seen, "why": no_case_reason(alert, connected_at=connected_at)})
        # pydantic writes its own JSON several times faster than plain data would be written by `json`
        return f"{alert.model_dump_json()[:-1]}, {added[1:]}"


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


def _case_rows(given: Sequence[tuple[int, Alert]]) -> tuple[list[dict[str, Any]], list[str]]:
    """For each alert, by its number: what links it to its case, and the case as JSON."""
    now = datetime.now(UTC)
    links: list[dict[str, Any]] = []
    cases: list[str] = []
    for alert_id, alert in given:
        case = Received(id=new_id(), opened_at=now, alert=alert)
        link = {"id": case.id, "alert_id": alert_id, "source": alert.source, "fingerprint": alert.fingerprint}
        links.append(link)
        copied = _json(link | {"severity": alert.severity_rank, "alertname": alert.name})
        cases.append(f'{copied[:-1]}, "body": {case.model_dump_json()}}}')
    return links, cases


def _columns(posts: Sequence[Post]) -> dict[str, Any]:
    return {
        "sources": [post.source for post in posts],
        "tokens": [post.token for post in posts],
        "bodies": [post.body for post in posts],
    }


async def _send(
    connection: psycopg.AsyncConnection[Any], query: str, **values: Any
) -> psycopg.AsyncCursor[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    return await cursor.execute(SQL[query], values)


def _json(plain: Sequence[dict[str, Any]] | dict[str, Any]) -> str:
    return json.dumps(plain, ensure_ascii=False)


def _array(rows: Iterable[str]) -> str:
    return f"[{','.join(rows)}]"
