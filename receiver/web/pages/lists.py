"""The lists: cases, what needs a person first; and every alert with its why."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from receiver.domain.outcome import NoCase, Outcome
from receiver.web.access import needs_viewer
from receiver.web.pages.live import list_feed, stream
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts

_PAGE = 50
_NEEDS = 20


def routes(parts: Parts) -> APIRouter:
    """The two lists and their streams."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def cases(request: Request) -> Response:
        """What needs a person first, then all cases, newest first."""
        who = await needs_viewer(request, parts)
        values = await _cases(parts, dict(request.query_params))
        return page(
            request, "cases.html", who=who, here="cases", outcomes=list(Outcome), sources=parts.sources,
            live=_live("/live/cases", request), **values,
        )  # fmt: skip

    @router.get("/live/cases")
    async def live_cases(request: Request) -> Response:
        """The list again, whenever it changed."""
        await needs_viewer(request, parts)
        asked = dict(request.query_params)

        async def render() -> str:
            return fragment("parts/cases.html", **await _cases(parts, asked))

        return stream(list_feed(parts, "#cases", render))

    @router.get("/alerts")
    async def alerts(request: Request) -> Response:
        """Every alert with its why."""
        who = await needs_viewer(request, parts)
        values = await _alerts(parts, dict(request.query_params))
        return page(
            request, "alerts.html", who=who, here="alerts", whys=["open", *NoCase, *Outcome], sources=parts.sources,
            live=_live("/live/alerts", request), **values,
        )  # fmt: skip

    @router.get("/live/alerts")
    async def live_alerts(request: Request) -> Response:
        """The list again, whenever it changed."""
        await needs_viewer(request, parts)
        asked = dict(request.query_params)

        async def render() -> str:
            return fragment("parts/alerts.html", **await _alerts(parts, asked))

        return stream(list_feed(parts, "#alerts", render))

    return router


async def _cases(parts: Parts, asked: dict[str, str]) -> dict[str, Any]:
    cursor, filters = asked.get("cursor"), _filters(asked)
    found = await parts.archive.cases(limit=_PAGE, cursor=cursor, filters=filters)
    needs: tuple[dict[str, Any], ...] = ()
    if not filters and cursor is None:
        needs = (await parts.archive.cases(limit=_NEEDS, cursor=None, filters={"needs": "you"})).items
    more = urlencode({**filters, "cursor": found.next}) if found.next else ""
    return {"needs": needs, "cases": found.items, "more": more, "filters": filters}


async def _alerts(parts: Parts, asked: dict[str, str]) -> dict[str, Any]:
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
