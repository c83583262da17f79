"""A cheap HTTP client in a process of its own: keep-alive connections, one request at a time on each.

    python -m bench.client < SPEC.json

It speaks over asyncio protocols and reads no more of an answer than it must, so that the server is what is measured.
Prints one JSON object: what was answered in the window (after the warm-up), and what was answered 2xx at all, which
Alertmanager takes as delivered.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from bench.bodies import maker
from bench.report import quantile


@dataclass(frozen=True)
class Spec:
    """What to send: for `seconds` after a warm-up, or exactly `posts` when that is given."""

    host: str
    port: int
    path: str
    token: str
    alerts: int
    connections: int
    seconds: float = 5.0
    warm_up: float = 1.0
    posts: int = 0
    first: int = 0  #: number of the first body, so that no two calls share an alert
    opens_cases: bool = True
    is_listing: bool = False  #: also give the numbers of the bodies that were acknowledged


@dataclass(frozen=True)
class Found:
    """What came back; times in milliseconds."""

    posts: int
    alerts: int
    seconds: float
    p50: float
    p99: float
    acknowledged: int  #: POSTs answered 2xx, the warm-up included
    refused: int  #: POSTs answered otherwise, or not at all
    numbers: list[int] = field(default_factory=list)  #: of the acknowledged bodies, when they were asked for

    @property
    def posts_per_second(self) -> float:
        """In the window."""
        return self.posts / self.seconds

    @property
    def alerts_per_second(self) -> float:
        """In the window."""
        return self.alerts / self.seconds


def post(spec: Spec) -> Found:
    """Run the client as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input=json.dumps(asdict(spec)), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
        timeout=spec.seconds + spec.warm_up + 60, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the client ended with {done.returncode}: {done.stderr[-2000:]}")
    return Found(**json.loads(done.stdout))


class _Window:
    """Counts for all connections."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.body: Callable[[int], bytes] = maker(spec.alerts, opens_cases=spec.opens_cases)
        self.begun = time.perf_counter()
        self.opens = self.begun + (0 if spec.posts else spec.warm_up)
        self.closes = self.opens + spec.seconds
        self.next = spec.first
        self.took: list[float] = []
        self.numbers: list[int] = []
        self.acknowledged = self.refused = 0
        self.last = self.begun

    def take(self) -> tuple[int, bytes] | None:
        """The next request and its number, None when it is over."""
        spec = self.spec
        if self.next - spec.first >= spec.posts if spec.posts else time.perf_counter() >= self.closes:
            return None
        number = self.next
        self.next += 1
        body = self.body(number)
        head = (
            f"POST {spec.path} HTTP/1.1\r\nHost: {spec.host}:{spec.port}\r\nUser-Agent: Alertmanager/0.25.0\r\n"
            f"Authorization: Bearer {spec.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return number, head.encode() + body

    def answered(self, status: bytes, sent: float, number: int) -> None:
        """One answer."""
        now = time.perf_counter()
        if not status.startswith(b"2"):
            self.refused += 1
            return
        self.acknowledged += 1
        if self.spec.is_listing:
            self.numbers.append(number)
        if self.opens <= now < self.closes or self.spec.posts:
            self.took.append(now - sent)
            self.last = now

    def found(self) -> Found:
        """All of it."""
        seconds = self.last - self.begun if self.spec.posts else self.spec.seconds
        took = self.took or [0.0]
        return Found(
            posts=len(self.took), alerts=len(self.took) * self.spec.alerts, seconds=max(seconds, 1e-9),
            p50=1000 * quantile(took, 0.5), p99=1000 * quantile(took, 0.99),
            acknowledged=self.acknowledged, refused=self.refused, numbers=self.numbers,
        )  # fmt: skip


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, window: _Window, done: asyncio.Future[None]) -> None:
        self._window, self._done = window, done
        self._buffer = b""
        self._sent = 0.0
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._window.answered(head[9:12], self._sent, self._number)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """The server hung up before it had answered."""
        if not self._done.done():
            self._window.refused += 1
            self._done.set_result(None)

    def _send(self) -> None:
        request = self._window.take()
        if request is None:
            self._done.set_result(None)
            self._transport.close()
            return
        self._number, sent = request
        self._sent = time.perf_counter()
        self._transport.write(sent)


async def _run(spec: Spec) -> Found:
    window = _Window(spec)
    loop = asyncio.get_running_loop()
    over: list[asyncio.Future[None]] = [loop.create_future() for _ in range(spec.connections)]
    for done in over:
        await loop.create_connection(lambda done=done: _Connection(window, done), spec.host, spec.port)  # type: ignore[misc]
    await asyncio.wait(over)
    return window.found()


def main() -> None:
    """One specification in, one result out."""
    import uvloop  # noqa: PLC0415 - the suite itself runs without

    spec = Spec(**json.loads(sys.stdin.read()))
    print(json.dumps(asdict(uvloop.run(_run(spec)))))


if __name__ == "__main__":
    main()
