"""`POST /alertmanager[/{source}]`: 200 only after the commit (promise P1).

503 for whatever passes (Alertmanager retries 5xx), 401, 403, 404 and 413 for what never will. Never another 2xx,
never 429: Alertmanager counts the one as delivered and drops the other.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.errors import GitmedicError
from receiver.ports import Post, Receipt, Token
from receiver.web.access import DELIVERS, who
from receiver.web.api.described import SourceName, described
from receiver.web.parts import Parts

MAX_BYTES = 16 << 20
_PATH = "/alertmanager"
_MOST_DIGITS = 19
_BODY = {
    "type": "object", "required": ["alerts"], "description": "as Alertmanager's webhook receiver sends it, version 4",
    "properties": {"alerts": {"type": "array", "items": {"type": "object"},
                              "description": "each with status, labels, startsAt"}},
    "example": {"alerts": [{"status": "firing", "labels": {"alertname": "WebDown", "instance": "web1:80"},
                            "startsAt": "2026-11-26T12:00:00Z"}]},
}  # fmt: skip
_DESCRIBED = described("Alerts", "all of it is stored: how many `alerts`, `new`, `unreadable`", scopes=DELIVERS,
                       has_session=False, body=_BODY)  # fmt: skip


def routes(parts: Parts) -> APIRouter:
    """The two paths; without a source, the first configured one is meant."""
    router = APIRouter()

    @router.post("/alertmanager", **_DESCRIBED)
    async def default(request: Request) -> JSONResponse:
        """One webhook request of Alertmanager, for the first source: 200 when all of it is stored."""
        return await receive(request, parts, parts.sources[0] if parts.sources else "")

    @router.post("/alertmanager/{source}", **_DESCRIBED)
    async def named(request: Request, source: SourceName) -> JSONResponse:
        """The same for a source by its name. 503: send it again; 4xx: it will never be taken."""
        return await receive(request, parts, source)

    return router


class Straight:
    """ASGI middleware that answers the hook before FastAPI, whose routing costs as much as all else of a request.

    The routes above describe the hook, and answer what else is asked of these paths.
    """

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self._parts = app, parts

    async def __call__(self, scope: Scope, receive_: Receive, send: Send) -> None:
        """One request."""
        path: str = scope.get("path", "")
        if scope.get("method") != "POST" or not path.startswith(_PATH):
            await self._app(scope, receive_, send)
            return
        slash, source = path[len(_PATH) : len(_PATH) + 1], path[len(_PATH) + 1 :]
        if slash not in ("", "/") or "/" in source or (slash and not source):
            await self._app(scope, receive_, send)
            return
        first = self._parts.sources[0] if self._parts.sources else ""
        answer = await receive(Request(scope, receive_), self._parts, source or first)
        await answer(scope, receive_, send)


async def receive(request: Request, parts: Parts, source: str) -> JSONResponse:
    """One webhook request."""
    began = time.perf_counter()
    receipt: Receipt | None = None
    token: Token | None = None
    try:
        token = await who(request, parts)
        refused = _refused(token, source, parts)
        if refused is not None:
            parts.counted(refused.status_code, None, time.perf_counter() - began)
            return refused
        body = await read_body(request)
        if body is None:
            parts.counted(413, None, time.perf_counter() - began)
            return _answer(413, f"a delivery may have {MAX_BYTES >> 20} MiB")
        receipt = await parts.commit.store(Post(source=source, body=body, token=token.name if token else ""))
    except GitmedicError as error:
        parts.counted(503, None, time.perf_counter() - began)
        # who is not known yet learns nothing about the database
        return _answer(503, error.message[:200] if token else "not stored: come again")
    parts.counted(200, receipt, time.perf_counter() - began)
    return JSONResponse(receipt.model_dump())


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes | None:
    """The body, or None as soon as it is too large."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > _MOST_DIGITS or int(declared) > most):
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _refused(token: Token | None, source: str, parts: Parts) -> JSONResponse | None:
    if token is None:
        return _answer(401, "a token of scope alerts:write is needed: gitmedic token create --scope alerts:write")
    if token.scope not in DELIVERS:
        return _answer(403, f"token {token.name!r} has scope {token.scope}, not alerts:write")
    if source not in parts.sources:
        known = ", ".join(parts.sources) or "none: add [[sources]] to gitmedic.toml"
        return _answer(404, f"no source {source[:60]!r}; known: {known}")
    if token.source and token.source != source:
        return _answer(403, f"token {token.name!r} speaks for source {token.source!r} only")
    return None


def _answer(status: int, text: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": text}, status_code=status, headers=headers)
