"""The hosts of the adopted inventory: how they are reached, what is known, who holds their lock and who waits."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from receiver.web.access import needs_viewer
from receiver.web.pages.render import page
from receiver.web.parts import Parts


def routes(parts: Parts) -> APIRouter:
    """/hosts."""
    router = APIRouter(include_in_schema=False)

    @router.get("/hosts")
    async def hosts(request: Request) -> Response:
        """One row per host."""
        await needs_viewer(request, parts)
        revision = await parts.revision()
        inventory = revision.inventory
        known = {row["name"]: row for row in await parts.archive.entities()}
        locks = await parts.locks()
        held = {row["name"].removeprefix("host:"): row for row in locks}
        rows = [
            {"host": host, "known": known.get(name), "lock": held.get(name)}
            for name, host in sorted(inventory.hosts.items())
        ]
        others = [row for row in locks if row["name"].removeprefix("host:") not in inventory.hosts]
        return page(
            request, "hosts.html", here="hosts", rows=rows, others=others, queue=await parts.queue(),
            revision=revision.commit,
        )  # fmt: skip

    return router
