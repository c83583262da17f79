"""The way in and out: one-time links, the theme, leaving."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from receiver.web.access import COOKIE, check_origin
from receiver.web.pages.render import THEME, THEMES, page
from receiver.web.parts import Parts

_FORTNIGHT = 14 * 86400
_YEAR = 365 * 86400


def routes(parts: Parts) -> APIRouter:
    """/setup, /login, /logout and /theme."""
    router = APIRouter(include_in_schema=False)

    @router.get("/setup")
    async def setup(request: Request, t: str = "") -> Response:
        """Use a one-time link."""
        entered = await parts.access.enter(t)
        if entered is None:
            return page(request, "login.html", status=403, said="This link was used before, or is too old.")
        answer = RedirectResponse("/demo" if parts.playground else "/", status_code=303)
        # a proxy in front speaks https for us; believing a forged header here only makes the cookie stricter
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, entered[0], httponly=True, samesite="lax", secure=secure, max_age=_FORTNIGHT)
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

    @router.post("/theme")
    async def theme(request: Request, theme: str = Form("auto", max_length=10)) -> Response:
        """Light, dark, or as the system says; kept in this browser only."""
        check_origin(request)
        answer = RedirectResponse("/settings", status_code=303)
        answer.set_cookie(THEME, theme if theme in THEMES else "auto", samesite="lax", max_age=_YEAR, httponly=True)
        return answer

    return router
