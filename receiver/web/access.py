"""Who is asking, and from where (rule S9).

Every unsafe request of a session must come from our own page: Host, Origin and session are checked, loopback too.
A token never approves. Nothing is granted by source address.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.domain.policyfile import Person
from receiver.errors import Refused
from receiver.ports import Token
from receiver.web.parts import Parts, trace_of

log = structlog.get_logger()
COOKIE = "gitmedic_session"
#: scopes of tokens: any of them may
READS = ("read", "dispatch", "admin")
DISPATCHES = ("dispatch", "admin")
DELIVERS = ("alerts:write", "admin")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: asked by machines under any name; they carry no session
_ANY_HOST = ("/alertmanager", "/hooks/", "/healthz", "/readyz", "/metrics")
#: read their bodies themselves, after they know who sends, or that somebody claims to
_OWN_CAP = ("/alertmanager", "/hooks/")
_MOST_BYTES = 1 << 20
_MOST_DIGITS = 19
_HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self';"
     b" form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    # not `no-referrer`: with it browsers send `Origin: null` from our own forms, and nobody could approve
    (b"referrer-policy", b"same-origin"),
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
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message.setdefault("headers", [])
                known = {name for name, _ in headers}
                headers.extend(pair for pair in _HEADERS if pair[0] not in known)
            await send(message)

        host = hostname(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        if host not in self._hosts and not scope["path"].startswith(_ANY_HOST):
            text = f"this server does not answer as {host[:80]!r}: add it to web.hosts in gitmedic.toml"
            await JSONResponse({"error": text}, status_code=421)(scope, receive, guarded)
            return
        try:
            await self._inside(scope, receive, guarded)
        except Exception as error:
            # a bug of ours: told in full to the log, in one sentence to whoever asked
            log.error("answering a request", path=scope["path"][:200], trace=trace_of(error))
            if started:
                raise
            body = {"error": "a bug of gitmedic; its log says more", "next_step": "", "reason": "broken"}
            await JSONResponse(body, status_code=500)(scope, receive, guarded)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(_OWN_CAP):
            bounded = receive
        else:
            try:
                bounded = _Bounded(receive, dict(scope["headers"]).get(b"content-length", b""))
            except TooLarge as error:
                await JSONResponse({"error": error.detail}, status_code=413)(scope, receive, send)
                return
        # whoever hung up has no acknowledgement to lose, and nobody reads an answer
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, bounded, send)


class TooLarge(HTTPException):
    """More was sent than any form or API call needs."""

    def __init__(self) -> None:
        super().__init__(413, f"a request here may have {_MOST_BYTES >> 20} MiB")


class _Bounded:
    """Receives no more than `_MOST_BYTES`; what is declared larger is not read at all."""

    def __init__(self, receive: Receive, declared: bytes) -> None:
        self._receive = receive
        self._size = int(declared) if declared.isdigit() and len(declared) < _MOST_DIGITS else 0
        self._refuse()
        self._size = 0

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._refuse()
        return message

    def _refuse(self) -> None:
        if self._size > _MOST_BYTES:
            raise TooLarge


@lru_cache(256)
def hostname(header: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def session_person(request: Request, parts: Parts) -> Person | None:
    """The person of the policy behind this session; one who is no longer in it has none."""
    secret = request.cookies.get(COOKIE)
    name = await parts.access.person(secret) if secret else None
    if name is None:
        return None
    people = (await parts.doors.policy()).people
    return next((person for person in people if name in (person.name, *person.session)), None)


def check_origin(request: Request) -> None:
    """An unsafe request must come from our own page."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = origin is not None and _netloc(origin) == request.headers.get("host", "").lower()
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
    person = request.state.person = await session_person(request, parts)
    if person is None:
        raise Refused("no session of a person in policy.yml", next_step="gitmedic link", reason="no_session")
    return person


async def needs_viewer(request: Request, parts: Parts) -> Person:
    """Anybody with a session may look at pages; whoever has none is shown the way in.

    The session is asked once a request; the page itself finds who looks in `request.state.person`.
    """
    person: Person | None = getattr(request.state, "person", None) or await session_person(request, parts)
    if person is None:
        raise Refused("no session", next_step="gitmedic link", reason="no_session")
    request.state.person = person
    request.state.notices = await parts.notices.all()
    return person


async def needs_reader(request: Request, parts: Parts) -> str:
    """Anybody with a session or a reading token; gives the actor."""
    if request.headers.get("authorization"):
        token = await needs_token(request, parts, READS)
        return f"token:{token.name}"
    person = await session_person(request, parts)
    if person is None:
        raise Refused(
            "no session and no token", next_step="gitmedic link, or gitmedic token create", reason="no_session"
        )
    return f"user:{person.name}"


def still_reads(request: Request, parts: Parts) -> Callable[[], Awaitable[bool]]:
    """Asks anew whether whoever opened this request may read: people leave the policy, tokens are revoked."""

    async def ask() -> bool:
        try:
            await needs_reader(request, parts)
        except Refused:
            return False
        return True

    return ask


async def needs_token(request: Request, parts: Parts, scopes: tuple[str, ...]) -> Token:
    """A token of one of these scopes."""
    token = await who(request, parts)
    if token is None:
        raise Refused("this token is not known or was revoked", next_step="gitmedic token create", reason="no_token")
    if token.scope not in scopes:
        raise Refused(f"token {token.name!r} has scope {token.scope}, not {' or '.join(scopes)}", reason="scope")
    return token


async def who(request: Request, parts: Parts) -> Token | None:
    """The token of a bearer or, as password, of basic authentication."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    secret = value.strip()
    if kind.lower() == "basic":
        try:
            secret = base64.b64decode(secret, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    elif kind.lower() != "bearer":
        return None
    return await parts.access.token(secret) if secret else None
