"""The API: lists, cases, runs, the catalog. Approving, rejecting and settling an interrupted run are for a person's
session; dispatching, calling off and proposing again also for tokens that may dispatch.

Errors are `{"error", "next_step", "reason"}`; the status says who must act.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Body, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response, StreamingResponse

from receiver.domain.resolution import ACTS
from receiver.domain.text import plain
from receiver.errors import Refused
from receiver.web.access import DISPATCHES, READS, check_origin, needs_person, needs_reader, needs_token, still_reads
from receiver.web.api import hosts
from receiver.web.api.described import CaseId, PlaybookId, RunId, described
from receiver.web.api.stream import case_stream
from receiver.web.parts import Parts

DEFAULT_LIMIT = 50
_MOST_DIGITS = 19
_PAGED = {"limit": f"how many, {DEFAULT_LIMIT} when not given", "cursor": "`next` of the page before"}
_OF_BOTH = {"source": "name of a source", "alertname": "the label of that name"}
_OF_ALERTS = _PAGED | {
    "source": _OF_BOTH["source"],
    "status": "firing or resolved",
    "fingerprint": "Alertmanager's number for a set of labels",
    "alertname": _OF_BOTH["alertname"],
    "why": "open, a reason why no case was opened, or the outcome of its case",
}
_OF_CASES = _PAGED | {
    "state": "the step it is at, or closed",
    "outcome": "how it ended",
    "alertname": _OF_BOTH["alertname"],
    "entity": "what it is about, such as a host",
    "playbook": "its id in the catalog",
    "source": _OF_BOTH["source"],
    "needs": "`you`: those that wait for a person",
}
_APPROVE = {
    "type": "object",
    "required": ["head_sha"],
    "example": {"head_sha": "0" * 40},
    "properties": {"head_sha": {"type": "string", "description": "head of the proposal that was looked at"},
                   "signature": {"type": "string", "description": "from risk high: ssh signature over the digest"}},
}  # fmt: skip
_REJECT = {
    "type": "object",
    "example": {"why": "not during the backup"},
    "properties": {"why": {"type": "string", "description": "stands on the proposal"}},
}
_RESOLVE = {
    "type": "object",
    "required": ["act"],
    "example": {"act": "close", "reason": "looked at it by hand: it is well"},
    "properties": {
        "act": {"type": "string", "description": "verify, propose or close"},
        "reason": {"type": "string", "description": "kept with the case; close needs one"},
    },
}
_RETRY = {
    "type": "object",
    "example": {"reason": "the switch is back"},
    "properties": {"reason": {"type": "string", "description": "stands on the proposal"}},
}
_DISPATCH = {
    "type": "object", "required": ["playbook"],
    "properties": {
        "playbook": {"type": "string", "description": "id in the catalog"},
        "params": {"type": "object", "description": "as the playbook's schema wants them"},
        "reason": {"type": "string", "description": "stands on the proposal"},
    },
    "example": {"playbook": "path_cleanup", "params": {"host": "web1", "path": "/srv/cache"}, "reason": "asked for"},
}  # fmt: skip
_PLAN = {
    "type": "object", "required": ["alerts"],
    "properties": {"alerts": {"type": "array", "description": "as Alertmanager's webhook has them"}},
    "example": {
        "alerts": [{"status": "firing", "labels": {"alertname": "WebDown"}, "startsAt": "2026-11-26T02:00:00Z"}]
    },
}  # fmt: skip


def routes(parts: Parts) -> APIRouter:
    """Everything below /api."""
    router = APIRouter(prefix="/api")
    _lists(router, parts)
    _cases(router, parts)
    _resolutions(router, parts)
    _plan(router, parts)
    _runs(router, parts)
    _catalog(router, parts)
    hosts.add_routes(router, parts)
    return router


def _lists(router: APIRouter, parts: Parts) -> None:
    @router.get("/info", **described("Lists", "version, revision, sources", scopes=READS))
    async def info(request: Request) -> dict[str, Any]:
        """Version, adopted revision and sources."""
        await needs_reader(request, parts)
        return {"version": parts.version, "revision": await parts.repo.adopted(), "sources": list(parts.sources)}

    @router.get("/alerts", **described("Lists", "`items` and `next`", scopes=READS, asks=_OF_ALERTS))
    async def alerts(request: Request) -> JSONResponse:
        """One row per identity, each with its why."""
        await needs_reader(request, parts)
        limit, cursor, filters = _query(request)
        page = await parts.archive.alerts(limit=limit, cursor=cursor, filters=filters)
        return _json({"items": page.items, "next": page.next})

    @router.get("/cases", **described("Lists", "`items` and `next`", scopes=READS, asks=_OF_CASES))
    async def cases(request: Request) -> JSONResponse:
        """Short rows, newest first."""
        await needs_reader(request, parts)
        limit, cursor, filters = _query(request)
        page = await parts.archive.cases(limit=limit, cursor=cursor, filters=filters)
        return _json({"items": page.items, "next": page.next})


def _cases(router: APIRouter, parts: Parts) -> None:
    @router.get("/cases/{id}", **described("Cases", "the case with its events and attempts", scopes=READS))
    async def case(request: Request, id: CaseId) -> JSONResponse:
        """The whole case."""
        await needs_reader(request, parts)
        return _json(await _found(parts, id))

    @router.get(
        "/cases/{id}/events", response_model=None,
        **described("Cases", "`items`; with `Accept: text/event-stream` a stream", scopes=READS,
                    asks={"after": "number of the last event that is known"}),
    )  # fmt: skip
    async def events(request: Request, id: CaseId) -> Response:
        """Events as a list, or as a stream that resumes after Last-Event-ID."""
        await needs_reader(request, parts)
        case = await _found(parts, id)
        last = request.headers.get("last-event-id") or request.query_params.get("after", "")
        after = number(last, -1)
        if "text/event-stream" in request.headers.get("accept", ""):
            if case["state"] == "closed" and case["events"] and case["events"][-1]["seq"] <= after:
                return Response(status_code=204)  # tells an EventSource not to come again
            stream: AsyncIterator[bytes] = case_stream(parts, id, after, still_reads(request, parts))
            return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        return _json({"items": await parts.archive.events(id, after=after), "next": None})

    @router.post("/cases/{id}/approve", **described("Cases", "what was decided", body=_APPROVE))
    async def approve(request: Request, id: CaseId, body: dict[str, Any] = Body()) -> JSONResponse:
        """Approve the head that was looked at, and merge it. A person's session only."""
        person = await needs_person(request, parts)
        head = str(body.get("head_sha", ""))
        sign = str(body.get("signature") or "")
        return _json(await parts.doors.approve(id, head_sha=head, person=person, via="session", signature=sign))

    @router.post("/cases/{id}/reject", **described("Cases", "what was decided", body=_REJECT))
    async def reject(request: Request, id: CaseId, body: dict[str, Any] | None = Body(default=None)) -> JSONResponse:
        """Close the proposal. A person's session only."""
        person = await needs_person(request, parts)
        why = plain(str((body or {}).get("why", "")))
        return _json(await parts.doors.reject(id, person=person, via="session", why=why))

    @router.post("/dispatch", **described("Cases", "`case`: its id", scopes=DISPATCHES, body=_DISPATCH, status=202))
    async def dispatch(request: Request, body: dict[str, Any] = Body()) -> JSONResponse:
        """Begin a case by hand; it meets the same guard and the same proposal."""
        if request.headers.get("authorization"):
            actor = f"token:{(await needs_token(request, parts, ('dispatch', 'admin'))).name}"
        else:
            actor = f"user:{(await needs_person(request, parts)).name}"
        playbook, params = body.get("playbook"), body.get("params", {})
        if not isinstance(playbook, str) or not isinstance(params, dict):
            raise Refused("dispatching: expected {playbook, params}", reason="invalid")
        _storable(params)
        reason = plain(str(body.get("reason", "")))
        return _json({"case": await parts.doors.dispatch(playbook, params, actor=actor, reason=reason)}, status=202)


def _resolutions(router: APIRouter, parts: Parts) -> None:
    @router.post("/cases/{id}/resolve", **described("Cases", "the word, as it was kept", body=_RESOLVE))
    async def resolve(request: Request, id: CaseId, body: dict[str, Any] = Body()) -> JSONResponse:
        """Say what becomes of an interrupted run. A person's session only."""
        person = await needs_person(request, parts)
        act = body.get("act")
        if act not in ACTS:
            raise Refused(f"resolving a case: act is one of {', '.join(ACTS)}", reason="invalid")
        reason = plain(str(body.get("reason", "")))
        word = await parts.aftermath.resolve(id, act, person=person, reason=reason)
        return _json(word.model_dump(mode="json"))


def _plan(router: APIRouter, parts: Parts) -> None:
    @router.post(
        "/plan", **described("Cases", "`items`: what would be decided about each alert", scopes=READS, body=_PLAN,
                             asks={"source": "name of the source that would have sent it"}),
    )  # fmt: skip
    async def plan(request: Request) -> JSONResponse:
        """What would be decided about a webhook payload, and why; `?source=` names who would have sent it."""
        if not request.headers.get("authorization"):
            check_origin(request)
        await needs_reader(request, parts)
        if parts.preview is None:
            raise Refused("planning without a case is not possible here", reason="invalid")
        body, source = await request.body(), request.query_params.get("source", "")
        return _json({"items": await parts.preview(body, source), "next": None})


def _runs(router: APIRouter, parts: Parts) -> None:
    @router.get("/runs/{id}", **described("Runs", "the run with its attempts", scopes=READS))
    async def run(request: Request, id: RunId) -> JSONResponse:
        """A run and its attempts."""
        await needs_reader(request, parts)
        found = await parts.logs.run(id)
        if found is None:
            raise Refused(f"no run {id[:60]!r}", reason="unknown_run")
        return _json(found)

    @router.post("/runs/{id}/cancel", **described("Runs", "it was asked", scopes=DISPATCHES, status=202))
    async def cancel(request: Request, id: RunId) -> JSONResponse:
        """Ask a running run to stop, or keep one that waits from beginning."""
        if request.headers.get("authorization"):
            actor = f"token:{(await needs_token(request, parts, ('dispatch', 'admin'))).name}"
        else:
            actor = f"user:{(await needs_person(request, parts)).name}"
        await parts.doors.cancel(id, actor=actor)
        return _json({"run": id, "cancel": "asked"}, status=202)

    @router.post("/runs/{id}/retry", **described("Runs", "`case`: its id", scopes=DISPATCHES, body=_RETRY, status=202))
    async def retry(request: Request, id: RunId, body: dict[str, Any] | None = Body(default=None)) -> JSONResponse:
        """Propose it again for the hosts on which it failed, and those that it did not touch."""
        if request.headers.get("authorization"):
            actor = f"token:{(await needs_token(request, parts, ('dispatch', 'admin'))).name}"
        else:
            actor = f"user:{(await needs_person(request, parts)).name}"
        reason = plain(str((body or {}).get("reason", "")))
        return _json({"case": await parts.aftermath.retry(id, actor=actor, reason=reason)}, status=202)


def _catalog(router: APIRouter, parts: Parts) -> None:
    @router.get("/catalog", **described("Catalog", "`items`, and `problems` as text", scopes=READS))
    async def catalog(request: Request) -> JSONResponse:
        """All vetted playbooks of the adopted revision, and what kept others out."""
        await needs_reader(request, parts)
        found = (await parts.revision()).catalog
        items = [playbook.model_dump(mode="json") for playbook in found.playbooks.values()]
        return _json({"items": items, "next": None, "problems": found.problems})

    @router.get("/catalog/{id}", **described("Catalog", "the playbook", scopes=READS))
    async def playbook(request: Request, id: PlaybookId) -> JSONResponse:
        """One vetted playbook."""
        await needs_reader(request, parts)
        found = (await parts.revision()).catalog.playbooks.get(id)
        if found is None:
            raise Refused(f"no playbook {id[:60]!r}", next_step="gitmedic catalog list", reason="unknown_playbook")
        return _json(found.model_dump(mode="json"))


async def _found(parts: Parts, id: str) -> dict[str, Any]:
    found = await parts.archive.case(id)
    if found is None:
        raise Refused(f"no case {id[:60]!r}", next_step="gitmedic case list", reason="unknown_case")
    return found


def _query(request: Request) -> tuple[int, str | None, dict[str, str]]:
    values = dict(request.query_params)
    limit = values.pop("limit", str(DEFAULT_LIMIT))
    if number(limit, 0) < 1:
        raise Refused(f"limit is {limit[:40]!r}, not a number from 1", reason="invalid")
    return number(limit, DEFAULT_LIMIT), values.pop("cursor", None), values


def number(text: str, otherwise: int) -> int:
    """A whole number of a parameter or header that the database can hold; else `otherwise`."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else otherwise


def _storable(params: dict[str, Any]) -> None:
    """Refuse what no row can hold: NUL, half a character, NaN."""
    try:
        text = json.dumps(params, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"dispatching: the parameters cannot be stored: {error}"[:200], reason="invalid") from error
    if "\\u0000" in text:
        raise Refused("dispatching: a parameter holds a NUL character", reason="invalid")


def _json(content: Any, *, status: int = 200) -> JSONResponse:
    return JSONResponse(jsonable_encoder(content), status_code=status)
