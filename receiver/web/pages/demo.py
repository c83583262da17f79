"""The demo's cards: each breaks something real, and shows what becomes of it. Only in a demo's own directory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from receiver.errors import GitmedicError, Refused
from receiver.web.access import needs_person, needs_viewer
from receiver.web.changes import PING
from receiver.web.pages.live import message, piece, stream
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts, Playground

_LOOK_SECONDS = 1.0


def routes(parts: Parts) -> APIRouter:
    """/demo."""
    router = APIRouter(include_in_schema=False)

    def playground() -> Playground:
        if parts.playground is None:
            raise Refused("this is not a demo", next_step="gitmedic demo", reason="unknown_case")
        return parts.playground

    def back(is_known: bool, card: str) -> Response:
        if not is_known:
            raise Refused(f"no card {card[:40]!r}", next_step="look at the demo", reason="unknown_case")
        return RedirectResponse("/demo", status_code=303)

    @router.get("/demo")
    async def demo(request: Request) -> Response:
        """The four cards."""
        await needs_viewer(request, parts)
        return page(request, "demo.html", here="demo", cards=await _cards(parts, playground()))

    @router.get("/demo/live")
    async def live(request: Request) -> Response:
        """The cards again, whenever one looks different."""
        await needs_viewer(request, parts)
        return stream(_feed(parts, playground()))

    @router.post("/demo/{card}")
    async def break_it(request: Request, card: str) -> Response:
        """Break one."""
        await needs_person(request, parts)
        return back(await playground().break_it(card), card)

    @router.post("/demo/{card}/mend")
    async def mend(request: Request, card: str) -> Response:
        """Mend one by hand, so that it can be broken again."""
        await needs_person(request, parts)
        return back(await playground().mend(card), card)

    return router


async def _cards(parts: Parts, playground: Playground) -> list[dict[str, Any]]:
    cards = []
    for card in await playground.cards():
        found = await parts.archive.cases(limit=1, cursor=None, filters={"alertname": card["alert"]})
        cards.append({**card, "case": found.items[0] if found.items else None})
    return cards


async def _feed(parts: Parts, playground: Playground) -> AsyncIterator[bytes]:
    """Values of the demo's things change by themselves, so this one looks every second."""
    known, quiet = "", 0
    while not parts.stop.is_set():
        html = known
        with contextlib.suppress(GitmedicError):
            html = fragment("parts/cards.html", cards=await _cards(parts, playground))
        quiet = 0 if html != known else quiet + 1
        if html != known:
            yield message(piece("#cards", html))
        elif quiet % 15 == 0:
            yield PING
        known = html
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(parts.stop.wait(), _LOOK_SECONDS)
