"""Who watches is told, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class FakePulse:
    """The Pulse port; the fake rows tell it."""

    def __init__(self) -> None:
        self._watchers: dict[str | None, list[asyncio.Event]] = {}

    @contextmanager
    def watch(self, case: str | None) -> Iterator[asyncio.Event]:
        """Until the watcher leaves."""
        event = asyncio.Event()
        self._watchers.setdefault(case, []).append(event)
        try:
            yield event
        finally:
            self._watchers[case].remove(event)

    def tell(self, case: str) -> None:
        """Something was added to this case."""
        for event in (*self._watchers.get(case, ()), *self._watchers.get(None, ())):
            event.set()
