"""A case's events as server-sent events: the id is the event's number, so a cut stream resumes without loss.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.encoders import jsonable_encoder

from receiver.errors import Retry
from receiver.web.changes import PING, Welcome, changes
from receiver.web.parts import Parts


async def case_stream(parts: Parts, id: str, after: int, welcome: Welcome) -> AsyncIterator[bytes]:
    """Until the case is closed, the reader is gone or no longer welcome, or the server stops."""
    async with contextlib.aclosing(changes(parts, id, welcome)) as looks:
        async for is_change in looks:
            events: list[dict[str, Any]] = []
            if is_change:
                # while the database is away the stream waits; the number says where to go on
                with contextlib.suppress(Retry):
                    events = await parts.archive.events(id, after=after)
            for event in events:
                after = event["seq"]
                data = json.dumps(jsonable_encoder(event), ensure_ascii=False)
                yield f"id: {after}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
            if any(event["kind"] == "case.closed" for event in events):
                return
            if not is_change:
                yield PING
