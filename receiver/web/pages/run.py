"""The log of one run: page by page, filtered, with a way to the first failure; while it runs, new lines come by
themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from receiver.errors import Refused
from receiver.ports import Lines
from receiver.web.access import needs_viewer, still_reads
from receiver.web.api.logs import lines_of
from receiver.web.changes import PING
from receiver.web.pages.live import END, message, piece, stream
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts
from receiver.web.since import Since
from receiver.web.tailing import tail

_PAGE_LINES = 2000
#: what stands before a failure explains it
_BEFORE = 10
_FAILED = ("failed", "unreachable", "error")


def routes(parts: Parts) -> APIRouter:
    """/runs/{id} and its stream."""
    router = APIRouter(include_in_schema=False)

    @router.get("/runs/{id}")
    async def run(request: Request, id: str, after: str = "") -> Response:
        """The whole log of a run, page by page; of one that was not begun, what it waits for."""
        await needs_viewer(request, parts)
        case, found = await _found(parts, id)
        begun, of = Since.read(f"x.{after}").seq, lines_of(request)
        rows = await parts.logs.run_log(id, after=begun, limit=_PAGE_LINES + 1, of=of)
        more = rows[_PAGE_LINES - 1]["seq"] if len(rows) > _PAGE_LINES else None
        rows = rows[:_PAGE_LINES]
        last = rows[-1] if rows else None
        since = Since(last["attempt"], last["seq"]) if last else Since()
        is_live = more is None and case["is_open"] and not _has_ended(found)
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != "after" and value]
        return page(
            request, "run.html", here="cases", run=found, case=case, id=id, log=rows, more=more, begun=begun, of=of,
            hosts=sorted({row["host"] for row in await parts.logs.run_tally(id)}), failure=await _failure(parts, id),
            live=f"/runs/{id}/live?{urlencode([*asked, ('since', str(since))])}" if is_live else "",
            asked=urlencode(asked), refresh=5 if is_live else 0,
        )  # fmt: skip

    @router.get("/runs/{id}/live")
    async def live(request: Request, id: str, since: str = "") -> Response:
        """Lines that are new since the page, or since the stream was cut."""
        await needs_viewer(request, parts)
        case, _ = await _found(parts, id)
        last = Since.read(request.headers.get("last-event-id") or since)
        return stream(_feed(request, parts, id, case["id"], last, lines_of(request)))

    return router


async def _found(parts: Parts, id: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The case of the run, and the run once anything of it was begun."""
    case = await parts.logs.run_case(id)
    if case is None:
        raise Refused(f"no run {id[:60]!r}", next_step="look at the list of cases", reason="unknown_run")
    return case, await parts.logs.run(id)


async def _failure(parts: Parts, id: str) -> dict[str, Any] | None:
    """The first line that says what went wrong, and from where to read so that it is on the page."""
    rows = await parts.logs.run_log(id, limit=1, of=Lines(kinds=_FAILED))
    return {"seq": rows[0]["seq"], "after": rows[0]["seq"] - _BEFORE} if rows else None


async def _feed(request: Request, parts: Parts, id: str, case: str, since: Since, of: Lines) -> AsyncIterator[bytes]:
    said = ""
    async for news in tail(parts, id, case, since, of, still_reads(request, parts)):
        pieces: list[str] = []
        if news.lines or news.is_new_attempt:
            pieces.append(piece("#log", _written(news.lines), "innerHTML" if news.is_new_attempt else "beforeend"))
        state = fragment("parts/run-state.html", run=await parts.logs.run(id), case=await parts.logs.run_case(id))
        if state != said:
            pieces.append(piece("#run-state", state.strip()))
            said = state
        yield message("".join(pieces), str(news.since)) if pieces else PING
        if news.is_over:
            yield END


def _has_ended(run: dict[str, Any] | None) -> bool:
    return run is not None and run["mode"] == "run" and run["ended_at"] is not None


def _written(rows: Sequence[dict[str, Any]]) -> str:
    return fragment("parts/lines.html", log=rows).strip()
