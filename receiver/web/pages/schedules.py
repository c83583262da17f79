"""What policy.yml schedules, and what became of the last planned moments; a person may run one now."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from receiver.web.access import needs_person, needs_viewer
from receiver.web.api.schedules import views
from receiver.web.pages.render import page
from receiver.web.parts import Parts

_MOMENTS = 50


def routes(parts: Parts) -> APIRouter:
    """/schedules."""
    router = APIRouter(include_in_schema=False)

    @router.get("/schedules")
    async def schedules(request: Request, name: str = "", cursor: str = "") -> Response:
        """One row per schedule, one per moment."""
        person = await needs_viewer(request, parts)
        found = await parts.timetables.moments(name or None, limit=_MOMENTS, cursor=cursor or None)
        return page(
            request, "schedules.html", here="settings", schedules=await views(parts), moments=found.items,
            only=name, more=found.next, may_run=bool(person and person.dispatches),
            revision=await parts.repo.adopted(),
        )  # fmt: skip

    @router.post("/schedules/{name}/run")
    async def run(request: Request, name: str) -> Response:
        """Now."""
        person = await needs_person(request, parts)
        await parts.agenda.run(name, actor=f"user:{person.name}")
        return RedirectResponse("/schedules", status_code=303)

    return router
