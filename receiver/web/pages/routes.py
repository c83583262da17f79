"""Pages for people; all of them work without JavaScript. Every value is escaped by the templates."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from markupsafe import Markup

from receiver.domain.approval import may_approve
from receiver.domain.outcome import NoCase, Outcome, Risk
from receiver.domain.text import plain
from receiver.errors import GitmedicError, Refused
from receiver.web.access import COOKIE, check_origin, needs_person, session_name, session_person
from receiver.web.parts import Parts

#: a case in one of these moves by itself, so its page looks again
_MOVING = ("received", "triaged", "investigated", "planned", "vetted", "rehearsed", "approved", "executed", "verified",
           "ended")  # fmt: skip
#: what a person decided is on the timeline before the worker has looked at it
_DECIDED = ("proposal.approved", "proposal.rejected")
_KEPT = "\n\t"
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn")


def seen(value: Any) -> Any:
    """Outside text as it is shown: what would be invisible or turn the line around is spelled out."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(
        f"\u27e8U+{ord(c):04X}\u27e9" if c not in _KEPT and unicodedata.category(c) in _UNSEEN else c for c in value
    )


_templates = Jinja2Templates(
    env=jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(str(files("receiver.web") / "templates"))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


def routes(parts: Parts) -> APIRouter:
    """The pages."""
    router = APIRouter(include_in_schema=False)
    _doors(router, parts)
    _lists(router, parts)
    _case(router, parts)
    return router


def _doors(router: APIRouter, parts: Parts) -> None:
    @router.get("/setup")
    async def setup(request: Request, t: str = "") -> Response:
        """Use a one-time link."""
        entered = await parts.access.enter(t)
        if entered is None:
            return page(request, "login.html", status=403, said="This link was used before, or is too old.")
        answer = RedirectResponse("/", status_code=303)
        # a proxy in front speaks https for us; believing a forged header here only makes the cookie stricter
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, entered[0], httponly=True, samesite="lax", secure=secure, max_age=14 * 86400)
        return answer

    @router.get("/login")
    async def login(request: Request) -> Response:
        """How to get a link."""
        return page(request, "login.html", said="")

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        """End this session."""
        check_origin(request)
        await parts.access.leave(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer


def _lists(router: APIRouter, parts: Parts) -> None:
    @router.get("/")
    async def cases(request: Request) -> Response:
        """What needs a person first, then all cases, newest first."""
        who = await session_name(request, parts)
        if who is None:
            return RedirectResponse("/login", status_code=303)
        filters = _filters(request)
        found = await parts.archive.cases(limit=50, cursor=request.query_params.get("cursor"), filters=filters)
        needs: tuple[dict[str, Any], ...] = ()
        if not filters and "cursor" not in request.query_params:
            needs = (await parts.archive.cases(limit=20, cursor=None, filters={"needs": "you"})).items
        more = urlencode({**filters, "cursor": found.next}) if found.next else ""
        return page(
            request, "cases.html", who=who, needs=needs, cases=found.items, more=more, filters=filters,
            outcomes=list(Outcome), sources=parts.sources,
        )  # fmt: skip

    @router.get("/alerts")
    async def alerts(request: Request) -> Response:
        """Every alert with its why."""
        who = await session_name(request, parts)
        if who is None:
            return RedirectResponse("/login", status_code=303)
        filters = _filters(request)
        found = await parts.archive.alerts(limit=50, cursor=request.query_params.get("cursor"), filters=filters)
        more = urlencode({**filters, "cursor": found.next}) if found.next else ""
        return page(
            request, "alerts.html", who=who, alerts=found.items, more=more, filters=filters,
            whys=["open", *NoCase, *Outcome], sources=parts.sources,
        )  # fmt: skip


def _case(router: APIRouter, parts: Parts) -> None:
    @router.get("/cases/{id}")
    async def case(request: Request, id: str) -> Response:
        """One case: what happened, and what a person may decide."""
        who = await session_name(request, parts)
        if who is None:
            return RedirectResponse("/login", status_code=303)
        found = await parts.archive.case(id)
        if found is None:
            raise Refused(f"no case {id[:60]!r}", next_step="look at the list of cases", reason="unknown_case")
        person = await session_person(request, parts)
        log = await parts.archive.run_log(found["runfile"]["run"], limit=2000) if found["runfile"] else []
        risk = Risk(found["risk"]) if found["risk"] else None
        decided = [event for event in found["events"] if event["kind"] in _DECIDED]
        is_open = found["state"] == "proposed" and not decided
        return page(
            request,
            "case.html",
            who=who,
            case=found,
            log=log,
            may_approve=bool(person and risk and may_approve(person, risk)),
            needs_signature=bool(risk and risk.rank >= Risk.HIGH.rank),
            is_open=is_open,
            decided=decided[-1] if decided and found["state"] == "proposed" else None,
            refresh=_refresh(found, decided),
        )

    @router.get("/proposals/{number}")
    async def proposal(request: Request, number: int) -> Response:
        """A proposal is shown on its case's page."""
        if await session_name(request, parts) is None:
            return RedirectResponse("/login", status_code=303)
        found = await parts.archive.case_of_proposal(number)
        if found is None:
            raise Refused(f"no proposal {number}", next_step="look at the list of cases", reason="unknown_case")
        return RedirectResponse(f"/cases/{found}", status_code=303)

    @router.post("/cases/{id}/approve")
    async def approve(request: Request, id: str, head_sha: str = Form("", max_length=64)) -> Response:
        """The form of the case page."""
        person = await needs_person(request, parts)
        await parts.doors.approve(id, head_sha=head_sha, person=person, via="session")
        return RedirectResponse(f"/cases/{id}", status_code=303)

    @router.post("/cases/{id}/reject")
    async def reject(request: Request, id: str, why: str = Form("", max_length=400)) -> Response:
        """The form of the case page."""
        person = await needs_person(request, parts)
        await parts.doors.reject(id, person=person, via="session", why=plain(why))
        return RedirectResponse(f"/cases/{id}", status_code=303)

    @router.post("/runs/{id}/cancel")
    async def cancel(request: Request, id: str, case: str = Form("", max_length=64)) -> Response:
        """The form of the case page."""
        person = await needs_person(request, parts)
        await parts.doors.cancel(id, actor=f"user:{person.name}")
        return RedirectResponse(f"/cases/{case}", status_code=303)


def _filters(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query_params.items() if value and name != "cursor"}


def _refresh(case: dict[str, Any], decided: list[dict[str, Any]]) -> int:
    """Seconds until the page looks again; 0 where nothing moves by itself, or a form waits for a person."""
    if case["state"] not in _MOVING and not (case["state"] == "proposed" and decided):
        return 0
    due_at = case["timestamps"]["due_at"]
    is_soon = due_at is None or due_at < datetime.now(UTC) + timedelta(seconds=10)
    return 2 if is_soon else 15


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template's answer."""
    values.setdefault("who", None)
    values.setdefault("refresh", 0)
    return _templates.TemplateResponse(request, name, values, status_code=status)


def error_page(request: Request, error: GitmedicError, status: int) -> HTMLResponse:
    """What went wrong, and what to do."""
    return page(request, "error.html", status=status, error=error.message, next_step=getattr(error, "next_step", ""))
