"""The lists: cases, what needs a person first; and every alert with its why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from receiver.domain.outcome import NoCase, Outcome
from receiver.web.access import needs_viewer, still_reads
from receiver.web.pages.live import list_feed, stream
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts

_PAGE = 50
_NEEDS = 20
Gather = Callable[[Parts, dict[str, str]], Awaitable[dict[str, Any]]]


def routes(parts: Parts) -> APIRouter:
    """The two lists and their streams."""
    router = APIRouter(include_in_schema=False)
    _list(router, parts, "cases", "/", _cases, outcomes=list(Outcome))
    _list(router, parts, "alerts", "/alerts", _alerts, whys=["open", *NoCase, *Outcome])
    return router


def _list(router: APIRouter, parts: Parts, name: str, path: str, gather: Gather, **choices: Any) -> None:
    """One list: its page with the `choices` of its filters, and the stream that keeps the page up to date."""

    @router.get(path)
    async def shown(request: Request) -> Response:
        """A page of it, newest first."""
        await needs_viewer(request, parts)
        values = await gather(parts, dict(request.query_params))
        return page(
            request, f"{name}.html", here=name, sources=parts.sources, live=_live(f"/live/{name}", request),
            **choices, **values,
        )  # fmt: skip

    @router.get(f"/live/{name}")
    async def live(request: Request) -> Response:
        """The list again, whenever it changed."""
        await needs_viewer(request, parts)
        asked = dict(request.query_params)

        async def render() -> str:
            return fragment(f"parts/{name}.html", **await gather(parts, asked))

        return stream(list_feed(parts, f"#{name}", render, still_reads(request, parts)))


async def _cases(parts: Parts, asked: dict[str, str]) -> dict[str, Any]:
    """What needs a person first, then all cases."""
    cursor, filters = asked.get("cursor"), _filters(asked)
    found = await parts.archive.cases(limit=_PAGE, cursor=cursor, filters=filters)
    needs: tuple[dict[str, Any], ...] = ()
    if not filters and cursor is None:
        needs = (await parts.archive.cases(limit=_NEEDS, cursor=None, filters={"needs": "you"})).items
    more = urlencode({**filters, "cursor": found.next}) if found.next else ""
    return {"needs": needs, "cases": found.items, "more": more, "filters": filters}


async def _alerts(parts: Parts, asked: dict[str, str]) -> dict[str, Any]:
    """Every alert with its why."""
    filters = _filters(asked)
    found = await parts.archive.alerts(limit=_PAGE, cursor=asked.get("cursor"), filters=filters)
    more = urlencode({**filters, "cursor": found.next}) if found.next else ""
    return {"alerts": found.items, "more": more, "filters": filters}


def _filters(asked: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value and name != "cursor"}


def _live(path: str, request: Request) -> str:
    """The stream of a first page; older pages stand still."""
    asked = dict(request.query_params)
    return "" if "cursor" in asked else f"{path}?{urlencode(_filters(asked))}".rstrip("?")
