"""One case: what happened, and what a person may decide. Shown whole, then kept up to date piece by piece."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from receiver.domain.job import job_hosts
from receiver.domain.outcome import Risk
from receiver.domain.place import key_of
from receiver.domain.policyfile import Person
from receiver.domain.pulltext import reached
from receiver.domain.quorum import may_approve
from receiver.domain.resolution import ACTS
from receiver.domain.text import plain
from receiver.errors import GitmedicError, Refused
from receiver.web.access import needs_person, needs_viewer, session_person, still_reads
from receiver.web.changes import PING, changes
from receiver.web.pages.live import END, message, piece, stream
from receiver.web.pages.render import fragment, page
from receiver.web.pages.story import natures, rail, tally
from receiver.web.parts import Parts
from receiver.web.since import Since

#: in the order of the page; each has a template of its own in `templates/case/`
ABOVE = ("head", "decide", "resolve", "proof", "run")
IN_LOG = ("log",)
BELOW = ("dry", "plan", "similar", "timeline", "facts", "runfile", "alert")
#: a case in one of these moves by itself
_MOVING = ("received", "triaged", "investigated", "planned", "vetted", "rehearsed", "approved", "executed", "verified",
           "ended")  # fmt: skip
#: what a person decided is on the timeline before the worker has looked at it
_DECIDED = ("proposal.approved", "proposal.rejected")
#: of a log on its case's page: how it ended is at its end, all of it is a link away
LOG_LINES = 500
_LOG_PIECE = 500


def routes(parts: Parts) -> APIRouter:
    """The page, its stream, and the forms on it."""
    router = APIRouter(include_in_schema=False)
    _shown(router, parts)
    _decisions(router, parts)
    _afterwards(router, parts)
    return router


def _shown(router: APIRouter, parts: Parts) -> None:
    @router.get("/cases/{id}")
    async def case(request: Request, id: str) -> Response:
        """The whole page."""
        values = await _values(parts, id, await needs_viewer(request, parts))
        case = values["case"]
        log = await _log(parts, case, tail=True)
        sections = _sections(values)
        since = Since(log[-1]["attempt"], log[-1]["seq"]) if log else Since()
        return page(
            request, "case.html", here="cases", case=case, sections=sections, above=ABOVE, below=BELOW,
            log=log, cut=LOG_LINES if len(log) == LOG_LINES else 0,
            is_live=case["state"] != "closed", since=since, digest=_digest(sections), refresh=_refresh(case),
        )  # fmt: skip

    @router.get("/cases/{id}/live")
    async def live(request: Request, id: str, since: str = "", seen: str = "") -> Response:
        """The pieces that changed since the page, or since the stream was cut."""
        await needs_viewer(request, parts)
        await _found(parts, id)
        last = request.headers.get("last-event-id") or since
        return stream(_feed(request, parts, id, Since.read(last), seen))

    @router.get("/proposals/{number}")
    async def proposal(request: Request, number: int) -> Response:
        """A proposal is shown on its case's page: one of our own pages, else one on the catalog's forge."""
        await needs_viewer(request, parts)
        return await _proposal(parts, number, "local", parts.doors.places.main.key)

    @router.get("/proposals/{place}/{number}")
    async def proposal_in_place(request: Request, place: str, number: int) -> Response:
        """The same of another place."""
        await needs_viewer(request, parts)
        return await _proposal(parts, number, key_of(place, "local"), parts.doors.places.named(place).key)


async def _proposal(parts: Parts, number: int, *repositories: str) -> Response:
    for repository in dict.fromkeys(repositories):
        found = await parts.archive.case_of_proposal(repository, number)
        if found is not None:
            return RedirectResponse(f"/cases/{found}", status_code=303)
    raise Refused(f"no proposal {number}", next_step="look at the list of cases", reason="unknown_case")


def _decisions(router: APIRouter, parts: Parts) -> None:
    @router.post("/cases/{id}/approve")
    async def approve(
        request: Request,
        id: str,
        head_sha: str = Form("", max_length=64),
        signature: str = Form("", max_length=16_000),
    ) -> Response:
        """Approve the head that was looked at, and merge it once that is enough."""
        person = await needs_person(request, parts)
        await parts.doors.approve(id, head_sha=head_sha, person=person, via="session", signature=_unix(signature))
        return RedirectResponse(f"/cases/{id}", status_code=303)

    @router.post("/cases/{id}/reject")
    async def reject(request: Request, id: str, why: str = Form("", max_length=400)) -> Response:
        """Close the proposal; nothing will run."""
        person = await needs_person(request, parts)
        await parts.doors.reject(id, person=person, via="session", why=plain(why))
        return RedirectResponse(f"/cases/{id}", status_code=303)

    @router.post("/runs/{id}/cancel")
    async def cancel(request: Request, id: str, case: str = Form("", max_length=64)) -> Response:
        """Ask a running run to stop."""
        person = await needs_person(request, parts)
        await parts.doors.cancel(id, actor=f"user:{person.name}")
        await _found(parts, case)
        return RedirectResponse(f"/cases/{case}", status_code=303)


def _afterwards(router: APIRouter, parts: Parts) -> None:
    @router.post("/cases/{id}/resolve")
    async def resolve(
        request: Request, id: str, act: str = Form("", max_length=10), reason: str = Form("", max_length=400)
    ) -> Response:
        """Say what becomes of an interrupted run."""
        person = await needs_person(request, parts)
        if act not in ACTS:
            raise Refused(f"resolving a case: act is one of {', '.join(ACTS)}", reason="invalid")
        word = await parts.aftermath.resolve(id, act, person=person, reason=plain(reason))
        return RedirectResponse(f"/cases/{word.opened or id}", status_code=303)

    @router.post("/runs/{id}/retry")
    async def retry(request: Request, id: str) -> Response:
        """Propose it again where it failed."""
        person = await needs_person(request, parts)
        opened = await parts.aftermath.retry(id, actor=f"user:{person.name}")
        return RedirectResponse(f"/cases/{opened}", status_code=303)


def _unix(text: str) -> str:
    """Browsers send a text area's lines with carriage returns."""
    return text.replace("\r\n", "\n")


async def _found(parts: Parts, id: str) -> dict[str, Any]:
    found = await parts.archive.case(id)
    if found is None:
        raise Refused(f"no case {id[:60]!r}", next_step="look at the list of cases", reason="unknown_case")
    return found


async def _values(parts: Parts, id: str, person: Person | None) -> dict[str, Any]:
    """Everything that the sections show."""
    case = await _found(parts, id)
    risk = Risk(case["risk"]) if case["risk"] else None
    decided = [event for event in case["events"] if event["kind"] in _DECIDED]
    is_proposed = case["state"] == "proposed"
    counted = await parts.logs.run_tally(case["runfile"]["run"]) if case["runfile"] and case["run"] else []
    return {
        "case": case,
        "playbook": await _playbook(parts, case),
        "may_approve": bool(person and risk and may_approve(person, risk)),
        "may_dispatch": bool(person and person.dispatches),
        "to_sign": await parts.doors.to_sign(id) if is_proposed and risk and risk.rank >= Risk.HIGH.rank else "",
        "reviewed": [event for event in case["events"] if event["kind"] == "proposal.reviewed"] if is_proposed else [],
        "is_open": is_proposed and not decided,
        "decided": decided[-1] if decided and is_proposed else None,
        "is_moving": _is_moving(case),
        "rail": rail(case),
        "told": natures(case["events"]),
        "tally": tally(counted),
        "reached": await _reached(parts, case),
    }


async def _reached(parts: Parts, case: dict[str, Any]) -> list[str]:
    """How each target is reached, by the inventory of the case's revision (rule S21)."""
    if not case["runfile"] or not case["revision"]:
        return []
    with contextlib.suppress(GitmedicError):
        inventory = (await parts.repo.revision(case["revision"])).inventory
        return reached(job_hosts(inventory, tuple(case["runfile"]["targets"])))
    return []


async def _playbook(parts: Parts, case: dict[str, Any]) -> dict[str, Any] | None:
    """The catalog's words for the chosen playbook, as they were at the case's revision."""
    name = case["plan"]["playbook"] if case["plan"] else None
    if not name or not case["revision"]:
        return None
    with contextlib.suppress(GitmedicError):
        found = (await parts.repo.revision(case["revision"])).catalog.playbooks.get(name)
        return found.model_dump(mode="json") if found else None
    return None


def _sections(values: dict[str, Any]) -> dict[str, str]:
    return {name: fragment(f"case/{name}.html", **values).strip() for name in (*ABOVE, *IN_LOG, *BELOW)}


def _digest(sections: dict[str, str]) -> str:
    return sha256("\0".join(sections.values()).encode("utf-8", "replace")).hexdigest()[:16]


async def _log(
    parts: Parts, case: dict[str, Any], *, since: Since | None = None, tail: bool = False
) -> list[dict[str, Any]]:
    if not case["runfile"]:
        return []
    after = since.seq if since else -1
    limit = LOG_LINES if tail else _LOG_PIECE
    return await parts.logs.run_log(case["runfile"]["run"], after=after, limit=limit, tail=tail)


async def _feed(request: Request, parts: Parts, id: str, since: Since, seen: str) -> AsyncIterator[bytes]:
    """What changed, until the case is closed or the reader is gone."""
    known: dict[str, str] = {}
    async with contextlib.aclosing(changes(parts, id, still_reads(request, parts))) as looks:
        async for is_change in looks:
            pieces: list[str] = []
            is_closed = False
            if is_change:
                # the page stays as it was while the database is away
                with contextlib.suppress(GitmedicError):
                    values = await _values(parts, id, await session_person(request, parts))
                    sections = _sections(values)
                    if not known and _digest(sections) == seen:
                        known = sections
                    pieces = [
                        piece(f"#part-{name}", html) for name, html in sections.items() if known.get(name) != html
                    ]
                    known = sections
                    lines, since = await _new_lines(parts, values["case"], since)
                    pieces += lines
                    is_closed = values["case"]["state"] == "closed"
            yield message("".join(pieces), str(since)) if pieces else PING
            if is_closed:
                yield END
                return


async def _new_lines(parts: Parts, case: dict[str, Any], since: Since) -> tuple[list[str], Since]:
    """Pieces for the log, and how far it is shown then; a new attempt begins the log anew."""
    pieces: list[str] = []
    while rows := await _log(parts, case, since=since):
        attempt = rows[0]["attempt"]
        if attempt != since.attempt:
            first: Sequence[dict[str, Any]] = await _log(parts, case, tail=True)
            pieces, since = [piece("#log", _lines(first), "innerHTML")], Since(attempt, first[-1]["seq"])
            continue
        pieces.append(piece("#log", _lines(rows), "beforeend"))
        since = Since(attempt, rows[-1]["seq"])
    if not pieces and since.attempt:
        rows = await _log(parts, case, tail=True)
        if rows and rows[0]["attempt"] != since.attempt:  # the new attempt has fewer lines than the old one had
            pieces, since = [piece("#log", _lines(rows), "innerHTML")], Since(rows[0]["attempt"], rows[-1]["seq"])
    return pieces, since


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return fragment("parts/lines.html", log=rows).strip()


def _is_moving(case: dict[str, Any]) -> bool:
    decided = any(event["kind"] in _DECIDED for event in case["events"])
    return case["state"] in _MOVING or (case["state"] == "proposed" and decided)


def _refresh(case: dict[str, Any]) -> int:
    """Without JavaScript: seconds until the page looks again; 0 where a form waits for a person."""
    if not _is_moving(case):
        return 0
    due_at = case["timestamps"]["due_at"]
    is_soon = due_at is None or due_at < datetime.now(UTC) + timedelta(seconds=10)
    return 2 if is_soon else 15
