"""What a page shows, sent again when it changes: server-sent events whose messages are pieces of the page.

One stream per page. Sections are sent whole, so a lost one is made good by the next; log lines are appended, and
the stream's id says up to which, so a cut stream goes on without loss or doubling.
https://html.spec.whatwg.org/multipage/server-sent-events.html, https://htmx.org (hx-sse, hx-partial)
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.responses import StreamingResponse

from receiver.errors import GitmedicError
from receiver.web.changes import PING, Welcome, changes
from receiver.web.parts import Parts

LIST_SECONDS = 1.0
END = b"event: end\ndata: .\n\n"


def stream(content: AsyncIterator[bytes]) -> StreamingResponse:
    """An answer that proxies do not hold back."""
    return StreamingResponse(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def message(html: str, id: str = "") -> bytes:
    """One event; `id` is what the browser says when it comes back."""
    lines = [f"id: {id}"] if id else []
    lines += [f"data: {line}" for line in html.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def piece(target: str, html: str, swap: str = "innerMorph") -> str:
    """A piece of the page for one place in it."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


async def list_feed(
    parts: Parts, target: str, render: Callable[[], Awaitable[str]], welcome: Welcome
) -> AsyncIterator[bytes]:
    """A list, each time that it looks different."""
    known = ""
    async with contextlib.aclosing(changes(parts, None, welcome, gather=LIST_SECONDS)) as looks:
        async for is_change in looks:
            html = known
            if is_change:
                # the page stays as it was while the database is away
                with contextlib.suppress(GitmedicError):
                    html = await render()
            yield message(piece(target, html)) if html != known else PING
            known = html
