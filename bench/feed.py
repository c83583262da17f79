"""The bare feed: how fast PostgreSQL itself takes the batches of a webhook, through the product's own statements.

One connection, one statement a batch, as many posts a batch as there are connections: what a group commit takes
when everybody waits. Bodies and rows are made before the clock runs; what remains in the loop is the database.
"""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg

from bench.bodies import maker
from bench.place import SOURCE
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert, read_delivery

SQL = load("inbox")
_MOST_ALERTS_READY = 40_000


def alerts_per_second(dsn: str, alerts: int, posts: int, seconds: float) -> float:
    """Over about `seconds`, or until all prepared batches are used up."""
    body = maker(alerts)
    batches = [
        _Batch([body((1 << 40) + number * posts + one) for one in range(posts)])
        for number in range(max(3, _MOST_ALERTS_READY // (alerts * posts)))
    ]
    took = 0.0
    fed = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, batch in enumerate(batches):
            begun = time.perf_counter()
            batch.feed(connection)
            if number:  # the first one plans the statements
                took += time.perf_counter() - begun
                fed += alerts * posts
            if took > seconds:
                break
    return fed / took


class _Batch:
    """What one commit of the inbox sends."""

    def __init__(self, bodies: list[bytes]) -> None:
        alerts = [alert for body in bodies for alert in read_delivery(body, source=SOURCE).alerts]
        alerts.sort(key=lambda alert: (alert.source, alert.fingerprint, alert.starts_at))
        self._values = {
            "sources": [SOURCE] * len(bodies),
            "tokens": ["bench"] * len(bodies),
            "bodies": bodies,
            "rows": json.dumps([_alert_row(alert) for alert in alerts], ensure_ascii=False),
            "unreadable": "[]",
        }

    def feed(self, connection: psycopg.Connection[Any]) -> None:
        """The statement of one commit."""
        connection.execute(SQL["store"], self._values).fetchall()


def _alert_row(alert: Alert) -> dict[str, Any]:
    return alert.model_dump(mode="json") | {"times_seen": 1, "why": None}
