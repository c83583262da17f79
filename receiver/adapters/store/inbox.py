"""Deliveries become durable rows: raw bodies and alerts, in one commit for a whole batch of requests.

Decides what is new, what repeats and what will open no case; cases are opened by the plan role (`opening.py`).
Refuses nothing: a request whose rows the database will not take is kept raw, with an `unreadable` row that says
why, and never fails its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import is_at_fault, translate, translated
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert, Delivery, Unreadable, no_case_reason, read_delivery
from receiver.domain.outcome import NoCase
from receiver.ports import Post, Receipt

SQL = load("inbox")
#: read at a time; some milliseconds
_SLICE_BYTES = 32 << 10


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
            if not is_at_fault(error):
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
        values = {
            "sources": [post.source for post in posts],
            "tokens": [post.token for post in posts],
            "bodies": [post.body for post in posts],
            "rows": f"[{','.join(self._row(alert, seen[key]) for key, alert in sorted(alerts.items()))}]",
            "unreadable": _unreadable(posts, read),
        }
        async with self._writing, self._pool.connection() as connection:
            # one statement is one transaction: a commit is one exchange with the database
            cursor = await connection.execute(SQL["store"], values)
            stored = await cursor.fetchall()
            await self._wake(connection, [row[4] for row in stored if row[4] is not None])
        new = {(source, fingerprint, starts_at) for source, fingerprint, starts_at, is_new, _ in stored if is_new}
        return [
            Receipt(
                alerts=len(delivery.alerts),
                new=sum((alert.source, alert.fingerprint, alert.starts_at) in new for alert in delivery.alerts),
                unreadable=len(delivery.unreadable),
            )
            for delivery in read
        ]

    async def _wake(self, connection: psycopg.AsyncConnection[Any], cases: Sequence[Any]) -> None:
        """All is stored by now: a wake that fails is made up for by the case's own due time."""
        if cases:
            with contextlib.suppress(psycopg.Error):
                # a plan of its own: cached over an empty table it would read a full one from end to end
                await connection.execute(SQL["wake_resolved"], {"cases": list(cases)}, prepare=False)

    def _row(self, alert: Alert, times_seen: int) -> str:
        connected_at = self._connected_at.get(alert.source, datetime.min.replace(tzinfo=UTC))
        why = no_case_reason(alert, connected_at=connected_at)
        # pydantic writes its own JSON several times faster than plain data would be written by `json`
        return f'{alert.model_dump_json()[:-1]}, "times_seen": {times_seen}, "why": {_quoted(why)}}}'


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


def _unreadable(posts: Sequence[Post], read: Sequence[Delivery]) -> str:
    return json.dumps(
        [
            {"post": number, "source": post.source, "position": piece.position, "reason": piece.reason}
            for number, (post, delivery) in enumerate(zip(posts, read, strict=True))
            for piece in delivery.unreadable
        ]
    )


def _quoted(why: NoCase | None) -> str:
    # a word of ours: nothing in it needs escaping
    return "null" if why is None else f'"{why}"'
