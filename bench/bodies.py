"""Webhook bodies in the shape of real captures (`tests/data/alertmanager`), every alert with an identity of its own.

A body is cut once at its fingerprints; a request then only joins the pieces, so that the client costs little.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).parents[1] / "tests" / "data" / "alertmanager"
_MARK = "f1f2f3f4f5f6f7f8"


def capture(alerts: int) -> dict[str, Any]:
    """The captured payload of one alert, or of ten with its list repeated up to `alerts`."""
    name = "webhook-firing-single.json" if alerts == 1 else "webhook-firing-group-of-10.json"
    payload: dict[str, Any] = json.loads((CAPTURES / name).read_text())["body"]
    captured = payload["alerts"]
    payload["alerts"] = [dict(captured[number % len(captured)]) for number in range(alerts)]
    return payload


def maker(alerts: int, *, opens_cases: bool = True) -> Callable[[int], bytes]:
    """Gives the body for a number; no two numbers share an alert.

    `opens_cases`: it began after the source was connected (a minute ahead covers that), so each alert is a new case.
    """
    payload = capture(alerts)
    began = datetime.now(UTC) + timedelta(minutes=1) if opens_cases else datetime(2024, 1, 1, tzinfo=UTC)
    for alert in payload["alerts"]:
        alert["fingerprint"] = _MARK
        alert["startsAt"] = began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # as Go writes it: no spaces
    pieces = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode().split(_MARK.encode())

    def body(number: int) -> bytes:
        first = number * alerts
        made = [pieces[0]]
        for position, piece in enumerate(pieces[1:]):
            made += (b"%016x" % (first + position), piece)
        return b"".join(made)

    return body
