"""The log of a run for programs: as a list, as a stream that resumes, and whole as a file.

Decides that a file is of one attempt from its first line to its last, and is sent page by page: a log of any length
is never in memory. Its text was cleaned when it was stored (rule S22); it is an attachment that no browser interprets.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response, StreamingResponse

from receiver.errors import Refused
from receiver.ports import Lines
from receiver.web.access import READS, needs_reader, still_reads
from receiver.web.api.described import RunId, described
from receiver.web.changes import PING, Welcome
from receiver.web.parts import Parts
from receiver.web.since import Since
from receiver.web.tailing import PAGE, tail

_MOST, _MOST_DIGITS, _MOST_KINDS = 10_000, 19, 20
_ASKS = {
    "after": "number of the last line that is known",
    "host": "only lines of this host",
    "kind": "only lines of this kind, such as failed; may be given more than once",
    "word": "only lines with this word",
    "download": "anything: the whole log as a text file",
    "format": "`text`: the same",
}


def routes(parts: Parts) -> APIRouter:
    """/api/runs/{id}/log."""
    router = APIRouter(prefix="/api")

    @router.get(
        "/runs/{id}/log", response_model=None,
        **described("Runs", "`items` and `next`; a file, or with `Accept: text/event-stream` a stream", scopes=READS,
                    asks=_ASKS),
    )  # fmt: skip
    async def log(request: Request, id: RunId) -> Response:
        """Events of the latest attempt, also while it runs; as a file or as a stream when asked for."""
        await needs_reader(request, parts)
        asked, accept = request.query_params, request.headers.get("accept", "")
        of = lines_of(request)
        if "text/plain" in accept or asked.get("format") == "text" or "download" in asked:
            return await _file(parts, id, of)
        if "text/event-stream" in accept:
            return await _stream(request, parts, id, of)
        said = asked.get("after", "")
        after = int(said) if said.isascii() and said.isdigit() and len(said) < _MOST_DIGITS else -1
        rows = await parts.logs.run_log(id, after=after, limit=_MOST, of=of)
        return JSONResponse(jsonable_encoder({"items": rows, "next": str(rows[-1]["seq"]) if rows else None}))

    return router


def lines_of(request: Request) -> Lines:
    """Which lines were asked for."""
    asked = request.query_params
    kinds = tuple(kind[:40] for kind in asked.getlist("kind")[:_MOST_KINDS] if kind)
    return Lines(host=asked.get("host", "")[:200], kinds=kinds, word=asked.get("word", "")[:200])


async def _file(parts: Parts, id: str, of: Lines) -> Response:
    first = await parts.logs.run_log(id, limit=PAGE, of=of)
    name = "".join(c for c in id if c.isalnum() or c == "-")[:40]
    headers = {
        "Content-Disposition": f'attachment; filename="run-{name}.log"',
        "X-Content-Type-Options": "nosniff",
        "X-Accel-Buffering": "no",
    }
    return StreamingResponse(_pages(parts, id, of, first), media_type="text/plain; charset=utf-8", headers=headers)


async def _pages(parts: Parts, id: str, of: Lines, rows: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    """All lines; cut short by trouble, the answer has no proper end, so that nobody takes it for the whole."""
    while rows:
        yield "".join(_written(row) for row in rows).encode("utf-8", "replace")
        one = of.model_copy(update={"attempt": rows[0]["attempt"]})
        rows = await parts.logs.run_log(id, after=rows[-1]["seq"], limit=PAGE, of=one)


def _written(row: dict[str, Any]) -> str:
    first, *more = str(row["text"]).splitlines() or [""]
    head = (f"{row['at']:%Y-%m-%dT%H:%M:%SZ}", row["kind"], row["host"], row["task"], first)
    body = [f"    {line}" for line in (*more, *str(row["diff"]).splitlines())]
    return "\n".join((" ".join(part for part in head if part), *body, ""))


async def _stream(request: Request, parts: Parts, id: str, of: Lines) -> Response:
    case = await parts.logs.run_case(id)
    if case is None:
        raise Refused(f"no run {id[:60]!r}", reason="unknown_run")
    since = Since.read(request.headers.get("last-event-id", ""))
    events = _events(parts, id, case["id"], since, of, still_reads(request, parts))
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(parts: Parts, id: str, case: str, since: Since, of: Lines, welcome: Welcome) -> AsyncIterator[bytes]:
    async for news in tail(parts, id, case, since, of, welcome):
        for line in news.lines:
            data = json.dumps(jsonable_encoder(line), ensure_ascii=False)
            yield f"id: {Since(line['attempt'], line['seq'])}\nevent: line\ndata: {data}\n\n".encode("utf-8", "replace")
        if news.is_over:
            yield b"event: end\ndata: {}\n\n"
        elif not news.lines:
            yield PING
