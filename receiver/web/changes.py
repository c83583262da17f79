"""When to look again: the one clock of every stream. A change wakes it, a long silence makes a sign of life.

Decides also when a stream is over: the server stops, or whoever opened it may no longer look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from receiver.errors import Retry
from receiver.web.parts import Parts

Welcome = Callable[[], Awaitable[bool]]

PING_SECONDS = 15.0
#: changes that come closer together travel as one
GATHER_SECONDS = 0.15
PING = b": still here\n\n"


async def changes(
    parts: Parts, case: str | None, welcome: Welcome, *, gather: float = GATHER_SECONDS
) -> AsyncGenerator[bool]:
    """True at once and after each change, False when it is time for a sign of life.

    Ends when the server stops, and soon after `welcome` says no: it is asked as often as a sign of life is due.
    """
    asked = time.monotonic()
    with parts.pulse.watch(case) as changed:
        yield True
        waits = [asyncio.create_task(changed.wait()), asyncio.create_task(parts.stop.wait())]
        try:
            while not parts.stop.is_set():
                await asyncio.wait(waits, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if time.monotonic() - asked >= PING_SECONDS:
                    if not await _is_welcome(welcome):
                        return
                    asked = time.monotonic()
                if not changed.is_set():
                    yield False
                    continue
                # cleared before the look: what comes during it is seen by the next
                await asyncio.sleep(gather)
                changed.clear()
                waits[0] = asyncio.create_task(changed.wait())
                yield True
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


async def _is_welcome(welcome: Welcome) -> bool:
    try:
        return await welcome()
    except Retry:  # nobody can say, and there is nothing new to see
        return True
