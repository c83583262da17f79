"""Settings as they are in effect, each with where it comes from; and whether this machine is well.

Nothing is changed here: settings are a file, policy is in git.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from receiver.web.access import needs_viewer
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts


def routes(parts: Parts) -> APIRouter:
    """/settings."""
    router = APIRouter(include_in_schema=False)

    @router.get("/settings")
    async def settings(request: Request) -> Response:
        """All settings, without any secret."""
        await needs_viewer(request, parts)
        revision = await parts.revision()
        # without JavaScript a link asks for the checks, which take a second or two
        checks = await parts.checks() if "checks" in request.query_params else None
        return page(
            request, "settings.html", here="settings", rows=parts.settings(), checks=checks, revision=revision.commit,
            policy=revision.policy, version=parts.version,
        )  # fmt: skip

    @router.get("/settings/checks")
    async def checks(request: Request) -> Response:
        """The same checks as `gitmedic doctor`."""
        await needs_viewer(request, parts)
        return HTMLResponse(fragment("parts/checks.html", checks=await parts.checks()))

    return router
