"""The catalog: every vetted playbook of the adopted revision, and the form that dispatches one.

A dispatch from here is a proposal like any other: nothing runs before it is approved.
"""

from __future__ import annotations

from typing import Any

import yaml
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from receiver.domain.playbook import Playbook
from receiver.domain.policyfile import Person
from receiver.domain.revision import Revision
from receiver.domain.text import plain
from receiver.errors import Refused
from receiver.web.access import needs_person, needs_viewer
from receiver.web.pages import forms
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts


def routes(parts: Parts) -> APIRouter:
    """/catalog and /catalog/{id}."""
    router = APIRouter(include_in_schema=False)

    @router.get("/catalog")
    async def catalog(request: Request) -> Response:
        """All of it, filtered by a word and by risk."""
        await needs_viewer(request, parts)
        revision = await parts.revision()
        word, risk = (request.query_params.get(name, "")[:80] for name in ("q", "risk"))
        found = [
            one
            for one in revision.catalog.playbooks.values()
            if (not risk or one.risk == risk)
            and word.lower() in " ".join((one.id, one.title, one.use_when, one.not_when)).lower()
        ]
        return page(
            request, "catalog.html", here="catalog", playbooks=found, word=word, risk=risk,
            problems=revision.catalog.problems, all=len(revision.catalog.playbooks),
        )  # fmt: skip

    @router.get("/catalog/{id}")
    async def playbook(request: Request, id: str) -> Response:
        """One playbook and its form."""
        person = await needs_viewer(request, parts)
        revision = await parts.revision()
        found = _found(revision, id)
        return await _form(request, parts, person, revision, found, dict(request.query_params), {})

    @router.post("/catalog/{id}")
    async def dispatch(request: Request, id: str) -> Response:
        """Look at the run file, or begin the case."""
        person = await needs_person(request, parts)
        revision = await parts.revision()
        found = _found(revision, id)
        given = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        params, wrong = forms.read(found, revision.inventory, given)
        reason = plain(given.get("reason", ""))
        if request.headers.get("hx-request"):
            shown = await _preview(parts, revision, found, params, wrong, reason, person.name)
            return HTMLResponse(fragment("parts/preview.html", **shown))
        if wrong or given.get("act") == "preview":
            status = 422 if wrong else 200
            return await _form(request, parts, person, revision, found, given, wrong, status=status)
        case = await parts.doors.dispatch(found.id, params, actor=f"user:{person.name}", reason=reason)
        return RedirectResponse(f"/cases/{case}", status_code=303)

    return router


def _found(revision: Revision, id: str) -> Playbook:
    found = revision.catalog.playbooks.get(id)
    if found is None:
        raise Refused(f"no playbook {id[:60]!r}", next_step="look at the catalog", reason="unknown_playbook")
    return found


async def _form(
    request: Request,
    parts: Parts,
    person: Person,
    revision: Revision,
    playbook: Playbook,
    given: dict[str, str],
    wrong: dict[str, str],
    *,
    status: int = 200,
) -> HTMLResponse:
    params, missing = forms.read(playbook, revision.inventory, given)
    shown = await _preview(parts, revision, playbook, params, wrong or missing, given.get("reason", ""), person.name)
    return page(
        request, "playbook.html", status=status, here="catalog", playbook=playbook, given=given, wrong=wrong,
        fields=forms.fields(playbook, revision.inventory, given, wrong), past=await _past(parts, playbook.id),
        may_dispatch=person.dispatches, **shown,
    )  # fmt: skip


async def _preview(
    parts: Parts,
    revision: Revision,
    playbook: Playbook,
    params: dict[str, Any],
    wrong: dict[str, str],
    reason: str,
    who: str,
) -> dict[str, Any]:
    """What the run file would say, and which hosts it would touch."""
    target = params.get(playbook.targets.param)
    host = revision.inventory.hosts.get(target) if isinstance(target, str) else None
    held = {row["name"]: row for row in await parts.locks()}
    plain_file = {
        "playbook": playbook.id, "targets": [target] if target else [], "params": params,
        "revision": revision.commit, "reason": reason or f"dispatched by user:{who}",
        "requested_by": f"user:{who}",
    }  # fmt: skip
    return {
        "params": params,
        "text": yaml.safe_dump(plain_file, sort_keys=False, allow_unicode=True, width=100),
        "host": host,
        "lock": held.get(f"host:{host.name}") if host else None,
        "missing": {name: said for name, said in wrong.items() if name and params},
    }


async def _past(parts: Parts, playbook: str) -> list[dict[str, Any]]:
    found = await parts.archive.cases(limit=10, cursor=None, filters={"playbook": playbook})
    return list(found.items)
