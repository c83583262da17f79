"""Tells whoever shows something live that it may have changed, over one connection for all of them.

Decides nothing about what changed. While the database is away, and every few seconds besides, everybody looks
again: a lost notification costs a moment, never a line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

#: everybody looks again after so long without a word
LOOK_SECONDS = 5.0
_AGAIN_SECONDS = 1.0


class PostgresPulse:
    """The Pulse port on LISTEN; `run` keeps it going."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._watchers: dict[str | None, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, case: str | None) -> Iterator[asyncio.Event]:
        """Set whenever this case (None: any) may have changed; the watcher clears it."""
        event = asyncio.Event()
        self._watchers.setdefault(case, set()).add(event)
        try:
            yield event
        finally:
            watching = self._watchers[case]
            watching.discard(event)
            if not watching:
                del self._watchers[case]

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made again."""
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._listen()
            self._tell_all()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, application_name="gitmedic pulse", connect_timeout=3
        )
        async with connection:
            await connection.execute("LISTEN gitmedic_cases")
            self._tell_all()
            while True:
                async for told in connection.notifies(timeout=LOOK_SECONDS):
                    self._tell(told.payload)
                await connection.execute("SELECT 1")
                self._tell_all()

    def _tell(self, case: str) -> None:
        if not case:
            self._tell_all()
            return
        for key in (case, None):
            for event in self._watchers.get(key, ()):
                event.set()

    def _tell_all(self) -> None:
        for watching in self._watchers.values():
            for event in watching:
                event.set()
