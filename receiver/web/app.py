"""Puts the front door together: hooks, API, pages, health; errors by consequence; headers on every answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from receiver.errors import Broken, Conflict, GitmedicError, Invalid, Refused, Retry
from receiver.web.access import Guarded
from receiver.web.api import logs as api_logs
from receiver.web.api import routes as api
from receiver.web.api import schedules as api_schedules
from receiver.web.api.described import Described
from receiver.web.hooks import alertmanager, forge
from receiver.web.pages import case, catalog, demo, docs, entry, hosts, lists, run, schedules, settings, start
from receiver.web.pages.render import error_page
from receiver.web.parts import Parts, trace_of

log = structlog.get_logger()
_STATUS = {
    "no_session": 401,
    "no_token": 401,
    "needs_person": 403,
    "scope": 403,
    "origin": 403,
    "not_entitled": 403,
    "needs_signature": 403,
    "unknown_case": 404,
    "unknown_run": 404,
    "unknown_playbook": 404,
    "unknown_schedule": 404,
    "unknown_host": 404,
}


def create_app(parts: Parts) -> FastAPI:
    """The ASGI application."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        writer = asyncio.create_task(parts.commit.run())
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    # FastAPI's own page would load scripts from elsewhere; ours is pages/docs.py
    app = Described(title="gitmedic", version=parts.version, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(alertmanager.Straight, parts=parts)
    app.add_middleware(Guarded, hosts=parts.hosts)
    app.include_router(alertmanager.routes(parts))
    app.include_router(forge.routes(parts))
    app.include_router(api.routes(parts))
    app.include_router(api_logs.routes(parts))
    app.include_router(api_schedules.routes(parts))
    app.state.parts = parts
    for pages in (entry, lists, case, run, catalog, hosts, schedules, settings, start, demo, docs):
        app.include_router(pages.routes(parts))
    app.mount("/static", StaticFiles(directory=Path(str(files("receiver.web") / "static"))))
    _health(app, parts)

    _errors(app)
    return app


def _errors(app: FastAPI) -> None:
    """Every error in one shape: a page for people, `{"error", "next_step", "reason"}` for the API."""

    def said(request: Request, error: GitmedicError, status: int) -> Response:
        if request.url.path.startswith(("/api", "/alertmanager", "/hooks/")):
            next_step, reason = getattr(error, "next_step", ""), getattr(error, "reason", "")
            return JSONResponse({"error": error.message, "next_step": next_step, "reason": reason}, status_code=status)
        if getattr(error, "reason", "") == "no_session" and request.method == "GET":
            return RedirectResponse("/login", status_code=303)
        return error_page(request, error, status)

    @app.exception_handler(GitmedicError)
    async def ours(request: Request, error: GitmedicError) -> Response:
        if isinstance(error, Broken):
            log.error("answering a request", path=request.url.path[:200], trace=trace_of(error))
        return said(request, error, status_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        text = f"{request.method} {request.url.path[:200]}: {error.detail}"
        return said(request, Refused(text, reason="http"), error.status_code)

    @app.exception_handler(RequestValidationError)
    async def shape(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return said(request, Refused(f"{where}: {first['msg']}", reason="invalid"), 422)


def status_of(error: GitmedicError) -> int:
    """Which HTTP status says who must act."""
    if isinstance(error, Retry):
        return 503
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, Invalid):
        return 422
    if isinstance(error, Refused):
        return _STATUS.get(error.reason, 409 if error.reason in ("not_proposed", "not_running") else 422)
    return 500


def _health(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        """The process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        """200 only when an alert would be stored."""
        try:
            await parts.ready()
        except GitmedicError as error:
            return PlainTextResponse(f"not ready: {error.message[:200]}\n", status_code=503)
        return PlainTextResponse("ready\n")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """The metrics page."""
        return Response(await parts.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
