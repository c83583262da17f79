"""The pages of an installation that is some years old: 100,000 cases, and a case whose run said 10,000 things.

What is measured: the time to the first byte (p95, milliseconds) and the size (kB as sent) of the list of cases, of
its later pages and filters, of the alerts and of a case, each from `gitmedic serve` over a keep-alive connection with
a person's session. Rows are made by `lists.sql` through the real schema.

Targets: the first byte within 100 ms, so that a page is there at once (Nielsen's limit for "instantaneous"); a page
below 120 kB, so that it is also there at once over a slow line.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench import place
from bench.report import Measure, quantile

NAME = "lists"
CASES, EVENTS = 100_000, 10_000
_FIRST_BYTE_MS, _PAGE_KB = 100.0, 120.0
_FEWEST = 20


async def measure(rounds: int, seconds: float, *, cases: int = CASES, events: int = EVENTS) -> AsyncIterator[Measure]:
    """Every page, round by round; `seconds` for all pages of a round together."""
    async with place.database() as where:
        body = (Path(__file__).parent / "case.json").read_text()
        _fill(where, {"case": body, "cases": cases, "events": events})
        newest, older, middle = _some(where)
        pages = {
            "cases": "/",
            "cases, a page in the middle": f"/?cursor={middle}",
            "cases with a rare outcome": "/?outcome=rejected",
            "cases of one host": "/?entity=host77",
            "cases of one alert": "/?alertname=Alert77",
            "cases that no filter matches": "/?playbook=none",
            "alerts": "/alerts",
            "alerts of one name": "/alerts?alertname=Alert77",
            "alerts with a rare why": "/alerts?why=rejected",
            "a case": f"/cases/{older}",
            f"a case with {events:,} run events": f"/cases/{newest}",
        }
        cookie = await place.session(where)
        times: dict[str, list[float]] = {name: [] for name in pages}
        sizes: dict[str, int] = {}
        with place.server(where) as port:
            for _ in range(rounds):
                for name, path in pages.items():
                    took, sizes[name] = await place.off_loop(_get, port, path, cookie, seconds / len(pages))
                    times[name].append(quantile(took, 0.95))
    for name, p95 in times.items():
        yield Measure(NAME, f"{name}: first byte p95", "ms", p95, "<", _FIRST_BYTE_MS)
        yield Measure(NAME, f"{name}: size", "kB", [sizes[name] / 1000], "<", _PAGE_KB)


def _fill(where: place.Place, values: dict[str, str | int]) -> None:
    """One statement at a time: values cannot be bound to several."""
    for statement in place.query("lists").split(";\n"):
        if statement.strip():
            where.sql(statement, values)


def _some(where: place.Place) -> tuple[str, str, int]:
    """Id of the newest case, id of an older one, and a number in the middle."""
    ((newest, number),) = where.sql("SELECT id::text, number FROM cases ORDER BY number DESC LIMIT 1")
    ((older,),) = where.sql("SELECT id::text FROM cases ORDER BY number DESC OFFSET 1 LIMIT 1")
    return newest, older, number // 2


def _get(port: int, path: str, cookie: str, seconds: float) -> tuple[list[float], int]:
    """Milliseconds to the first byte, and the bytes of the last answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took: list[float] = []
    size = 0
    try:
        end = time.perf_counter() + seconds
        while len(took) < _FEWEST + 1 or time.perf_counter() < end:
            begun = time.perf_counter()
            connection.request("GET", path, headers={"Cookie": cookie})
            answer = connection.getresponse()  # returns when the head is there
            took.append(1000 * (time.perf_counter() - begun))
            page = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {page[-600:]!r}")
            size = len(page)
    finally:
        connection.close()
    return took[1:], size  # the first one opened the connection
