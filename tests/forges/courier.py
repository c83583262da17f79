"""Sends a forge's webhooks, in a thread of its own as forges do: after the answer, in order, once.

Decides nothing about their content; a test asks for deliveries to be lost, doubled or held and reordered.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

import httpx

from tests.forges.pulls import State
from tests.forges.state import Delivery, Event


@dataclass(frozen=True)
class Sent:
    """One delivery and the answer; 0: nobody answered."""

    delivery: Delivery
    status: int


class Courier:
    """The deliveries of one forge."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._queue: queue.Queue[Delivery | None] = queue.Queue()
        self._held: list[Delivery] | None = None
        self._lose = self._double = 0
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self.sent: list[Sent] = []
        self.lost: list[Delivery] = []

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver what is queued, then end."""
        self._queue.put(None)
        self._thread.join(10)

    def take(self, event: Event) -> None:
        """Queue what each hook of the repository is told."""
        for hook in event.repository.hooks:
            if hook.active:
                for delivery in self._state.deliveries(event, hook):
                    self.post(delivery)

    def post(self, delivery: Delivery) -> None:
        """Queue one, as the test asked for it."""
        if self._lose > 0:
            self._lose -= 1
            self.lost.append(delivery)
            return
        copies = 2 if self._double > 0 else 1
        self._double = max(self._double - 1, 0)
        for _ in range(copies):
            self._queue.put(delivery) if self._held is None else self._held.append(delivery)

    def lose(self, count: int = 1) -> None:
        """The next ones never arrive."""
        self._lose = count

    def double(self, count: int = 1) -> None:
        """The next ones arrive twice."""
        self._double = count

    def hold(self) -> None:
        """Keep everything back from now on."""
        self._held = []

    def release(self, *, reverse: bool = False) -> None:
        """Send what was kept back, in order or the other way round."""
        held, self._held = self._held or [], None
        for delivery in reversed(held) if reverse else held:
            self._queue.put(delivery)

    def wait(self, count: int, seconds: float = 10.0) -> list[Sent]:
        """Until so many were sent in all."""
        until = time.monotonic() + seconds
        while len(self.sent) < count:
            if time.monotonic() > until:
                raise AssertionError(f"{len(self.sent)} webhooks of {count} were sent")
            time.sleep(0.01)
        return list(self.sent)

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=10, follow_redirects=False) as client:
            while (delivery := self._queue.get()) is not None:
                try:
                    status = client.post(delivery.url, content=delivery.body, headers=delivery.headers).status_code
                except httpx.HTTPError:
                    status = 0
                self.sent.append(Sent(delivery, status))
