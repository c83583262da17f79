"""Who is asking, and from where (rule S9).

Every unsafe request of a session must come from our own page: Host, Origin and session are checked, loopback too.
A token never approves. Nothing is granted by source address.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.domain.policyfile import Person
from receiver.errors import Refused
from receiver.ports import Token
from receiver.web.hooks.alertmanager import who
from receiver.web.parts import Parts

COOKIE = "gitmedic_session"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: asked by machines under any name; they carry no session
_ANY_HOST = ("/alertmanager", "/healthz", "/readyz", "/metrics")
_HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none';"
     b" base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)  # fmt: skip


class Guarded:
    """ASGI middleware: the Host must be ours; every answer carries the security headers."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._hosts = {*_LOOPBACK, *hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                assert isinstance(headers, list)  # noqa: S101 - as ASGI says
                known = {name for name, _ in headers}
                headers.extend(pair for pair in _HEADERS if pair[0] not in known)
            await send(message)

        host = hostname(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        if host not in self._hosts and not scope["path"].startswith(_ANY_HOST):
            text = f"this server does not answer as {host[:80]!r}: add it to web.hosts in gitmedic.toml"
            await JSONResponse({"error": text}, status_code=421)(scope, receive, guarded)  # type: ignore[arg-type]
            return
        await self._app(scope, receive, guarded)  # type: ignore[arg-type]


def hostname(header: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def session_person(request: Request, parts: Parts) -> Person | None:
    """The person of the policy behind this session; one who is no longer in it has none."""
    name = await session_name(request, parts)
    if name is None:
        return None
    people = (await parts.doors.policy()).people
    return next((person for person in people if name in (person.name, *person.session)), None)


async def session_name(request: Request, parts: Parts) -> str | None:
    """Whose session the cookie is."""
    secret = request.cookies.get(COOKIE)
    return await parts.access.person(secret) if secret else None


def check_origin(request: Request) -> None:
    """An unsafe request must come from our own page."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = origin is not None and urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if not own or site not in (None, "same-origin", "none"):
        raise Refused(
            f"this request came from {origin or 'nowhere'!s:.80}, not from this server's own page",
            next_step="open the page itself; scripts use the API with a token",
            reason="origin",
        )


async def needs_person(request: Request, parts: Parts) -> Person:
    """A named person's session on an unsafe request; a token is refused."""
    if request.headers.get("authorization"):
        raise Refused("a token cannot decide: this needs a person's session", reason="needs_person")
    check_origin(request)
    person = await session_person(request, parts)
    if person is None:
        raise Refused("no session of a person in policy.yml", next_step="gitmedic link", reason="no_session")
    return person


async def needs_reader(request: Request, parts: Parts) -> str:
    """Anybody with a session or a reading token; gives the actor."""
    if request.headers.get("authorization"):
        token = await needs_token(request, parts, ("read", "dispatch", "admin"))
        return f"token:{token.name}"
    name = await session_name(request, parts)
    if name is None:
        raise Refused(
            "no session and no token", next_step="gitmedic link, or gitmedic token create", reason="no_session"
        )
    return f"user:{name}"


async def needs_token(request: Request, parts: Parts, scopes: tuple[str, ...]) -> Token:
    """A token of one of these scopes."""
    token = await who(request, parts)
    if token is None:
        raise Refused("this token is not known or was revoked", next_step="gitmedic token create", reason="no_token")
    if token.scope not in scopes:
        raise Refused(f"token {token.name!r} has scope {token.scope}, not {' or '.join(scopes)}", reason="scope")
    return token
