"""The API of schedules: what the policy says, what became of each moment, and a person's word to run one now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from receiver.domain.view import schedule_view
from receiver.errors import Refused
from receiver.web.access import READS, needs_person, needs_reader
from receiver.web.api.described import described
from receiver.web.parts import Parts

_LIMIT, _MOST_DIGITS = 50, 4
Name = Annotated[str, Path(description="as policy.yml names it")]
_PAGED = {"limit": f"how many moments, {_LIMIT} when not given", "cursor": "`next` of the page before"}


def routes(parts: Parts) -> APIRouter:
    """Everything below /api/schedules."""
    router = APIRouter(prefix="/api/schedules")

    @router.get("", **described("Schedules", "`items`", scopes=READS))
    async def schedules(request: Request) -> JSONResponse:
        """All schedules of the policy in force: how they run, when they were and will be due."""
        await needs_reader(request, parts)
        return _json({"items": await views(parts), "next": None})

    @router.get("/{name}", **described("Schedules", "the schedule and its `moments`", scopes=READS, asks=_PAGED))
    async def schedule(request: Request, name: Name) -> JSONResponse:
        """One schedule, and what became of its moments, newest first."""
        await needs_reader(request, parts)
        found = next((one for one in await views(parts) if one["name"] == name), None)
        if found is None:
            raise Refused(f"no schedule {name[:60]!r}", next_step="look at policy.yml", reason="unknown_schedule")
        said = request.query_params.get("limit", str(_LIMIT))
        if not (said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS and int(said)):
            raise Refused(f"limit is {said[:40]!r}, not a number from 1", reason="invalid")
        page = await parts.timetables.moments(name, limit=int(said), cursor=request.query_params.get("cursor"))
        return _json({**found, "moments": {"items": page.items, "next": page.next}})

    @router.post("/{name}/run", **described("Schedules", "`planned_at` of the moment", status=202))
    async def run(request: Request, name: Name) -> JSONResponse:
        """Run it now. A person's session only, of somebody who may dispatch."""
        person = await needs_person(request, parts)
        moment = await parts.agenda.run(name, actor=f"user:{person.name}")
        return _json({"schedule": name, "planned_at": moment.planned_at}, status=202)

    return router


async def views(parts: Parts) -> list[dict[str, Any]]:
    """Each schedule of the policy in force."""
    revision = await parts.revision()
    marks = {row["name"]: row for row in await parts.timetables.marks()}
    return [schedule_view(one, marks.get(one.name), revision) for one in revision.policy.schedules]


def _json(content: Any, *, status: int = 200) -> JSONResponse:
    return JSONResponse(jsonable_encoder(content), status_code=status)
