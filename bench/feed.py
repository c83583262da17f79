"""The bare feed: how fast PostgreSQL itself takes the batches of a webhook, through the product's own statements.

One connection, one transaction a batch, as many posts a batch as there are connections: what a group commit takes
when everybody waits. Bodies and rows are made before the clock runs; what remains in the loop is the database.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import psycopg

from bench.bodies import maker
from bench.place import SOURCE
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert, read_delivery
from receiver.domain.case import Received
from receiver.identity import new_id

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
    with psycopg.connect(dsn) as connection:
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
        self._columns = {
            "sources": [SOURCE] * len(bodies),
            "tokens": ["bench"] * len(bodies),
            "bodies": bodies,
        }
        alerts = [alert for body in bodies for alert in read_delivery(body, source=SOURCE).alerts]
        alerts.sort(key=lambda alert: (alert.source, alert.fingerprint, alert.starts_at))
        self._rows = json.dumps([_alert_row(alert) for alert in alerts], ensure_ascii=False)
        #: by fingerprint, without the alert's number, which the database gives
        self._cases: dict[str, str] = {}
        self._links: dict[str, str] = {}
        for alert in alerts:
            row = _case_row(alert)
            link = {name: row[name] for name in ("id", "source", "fingerprint")}
            self._cases[alert.fingerprint] = json.dumps(row, ensure_ascii=False).removeprefix("{")
            self._links[alert.fingerprint] = json.dumps(link).removeprefix("{")

    def feed(self, connection: psycopg.Connection[Any]) -> None:
        """The statements of one commit."""
        with connection.transaction():
            connection.execute(SQL["store_deliveries"], self._columns).fetchall()
            stored = connection.execute(SQL["store_alerts"], {"rows": self._rows}).fetchall()
            for query, prepared in (("open_cases", self._cases), ("link_alerts", self._links)):
                rows = ",".join(f'{{"alert_id": {row[0]}, {prepared[row[2]]}' for row in stored)
                connection.execute(SQL[query], {"rows": f"[{rows}]"})


def _alert_row(alert: Alert) -> dict[str, Any]:
    return alert.model_dump(mode="json") | {"times_seen": 1, "why": None}


def _case_row(alert: Alert) -> dict[str, Any]:
    case = Received(id=new_id(), opened_at=datetime.now(UTC), alert=alert)
    return {
        "id": case.id, "body": case.model_dump(mode="json"), "severity": alert.severity_rank,
        "source": alert.source, "fingerprint": alert.fingerprint, "alertname": alert.name,
    }  # fmt: skip
