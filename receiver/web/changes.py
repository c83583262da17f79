"""When to look again: the one clock of every stream. A change wakes it, a long silence makes a sign of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from receiver.web.parts import Parts

PING_SECONDS = 15.0
#: changes that come closer together travel as one
GATHER_SECONDS = 0.15
PING = b": still here\n\n"


async def changes(parts: Parts, case: str | None, *, gather: float = GATHER_SECONDS) -> AsyncGenerator[bool]:
    """True at once and after each change, False when it is time for a sign of life; ends when the server stops."""
    with parts.pulse.watch(case) as changed:
        yield True
        waits = [asyncio.create_task(changed.wait()), asyncio.create_task(parts.stop.wait())]
        try:
            while not parts.stop.is_set():
                await asyncio.wait(waits, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
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
