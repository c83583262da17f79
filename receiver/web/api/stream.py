"""A case's events as server-sent events: the id is the event's number, so a cut stream resumes without loss.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi.encoders import jsonable_encoder

from receiver.errors import Retry
from receiver.web.parts import Parts

_LOOK_SECONDS = 0.5
_PING_LOOKS = 30


async def case_stream(parts: Parts, id: str, after: int) -> AsyncIterator[bytes]:
    """Until the case is closed, the reader is gone or the server stops."""
    looks = 0
    while not parts.stop.is_set():
        try:
            events = await parts.archive.events(id, after=after)
        except Retry:
            events = []
        for event in events:
            after = event["seq"]
            data = json.dumps(jsonable_encoder(event), ensure_ascii=False)
            yield f"id: {after}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
        if any(event["kind"] == "case.closed" for event in events):
            return
        looks += 1
        if looks % _PING_LOOKS == 0:
            yield b": still here\n\n"
        try:
            await asyncio.wait_for(parts.stop.wait(), _LOOK_SECONDS)
        except TimeoutError:
            continue
