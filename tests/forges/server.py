"""A forge's server on loopback: its REST API, git over HTTP by git itself, and webhooks that are really sent.

Decides how a request meets its fault, and that git is asked as `git http-backend` would be by a real forge: the
token in Basic auth, the rights of its user, the protection of branches by an update hook.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from receiver.web.server import bind
from tests.forges import gitwork
from tests.forges.courier import Courier
from tests.forges.faults import Fault, Faults, Seen
from tests.forges.pulls import State
from tests.forges.state import Denied, Moved, Repository, User

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_GIT = re.compile(r"/(?P<name>.+?)\.git/(?P<rest>info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.*)")


class ForgeServer:
    """Runs one forge; a context manager."""

    def __init__(self, state: State, *, tls: bool = False) -> None:
        self.state, self.faults = state, Faults()
        self.courier = Courier(state)
        self.ca_file: Path | None = None
        self._api = Starlette(routes=[Mount(state.api_prefix, routes=list(state.routes()))])
        self._api.add_exception_handler(Denied, self._refuse)
        self._api.add_exception_handler(HTTPException, self._refuse)
        self.spec = state.spec()
        self._pushing: dict[int, threading.Lock] = {}
        self._key = _certificate(state.folder) if tls else None
        self._listening = bind("127.0.0.1", 0)
        port = self._listening.getsockname()[1]
        state.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        state.notify = self.courier.take

    def __enter__(self) -> ForgeServer:
        more: dict[str, Any] = {}
        if self._key is not None:
            self.ca_file = self._key[0]
            more = {"ssl_certfile": str(self._key[0]), "ssl_keyfile": str(self._key[1])}
        config = uvicorn.Config(
            self._answer, interface="asgi3", http="httptools", ws="none", lifespan="off", access_log=False,
            log_config=None, proxy_headers=False, server_header=False, date_header=False,
            timeout_graceful_shutdown=2, **more,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="forge", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise AssertionError("the forge does not start")
            time.sleep(0.005)
        self.courier.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.courier.stop()
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()

    def git_url(self, repository: Repository) -> str:
        """What git clones."""
        return f"{self.state.url}/{repository.full_name}.git"

    # --- one request

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await Request(scope, receive).body()
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        fault = self.faults.take(scope["method"], path)
        sent = await self._meet(fault, scope, body, path)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.faults.note(Seen(scope["method"], path, headers, body, sent.status_code if sent else 0, time.monotonic()))
        if sent is None:
            # uvicorn gives its connection away only here; a forge that dies says nothing at all
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            return
        sent.headers["date"] = format_datetime(self.state.now(), usegmt=True)  # by the forge's own clock
        await sent(scope, receive, send)

    async def _meet(self, fault: Fault | None, scope: Message, body: bytes, path: str) -> Response | None:
        """The answer as its fault leaves it; None: the connection is dropped."""
        what = fault.what if fault else ""
        if what == "lost before the effect":
            return None
        if fault is not None and what == "delay":
            await asyncio.sleep(fault.seconds)
        instead = fault.answer() if fault else None
        if instead is None or what.endswith("after the effect"):
            answered = await self._route(scope, body, path)
            if instead is None:
                return None if what == "lost after the effect" else answered
        return JSONResponse({"message": instead[2]}, instead[0], headers=instead[1])

    async def _route(self, scope: Message, body: bytes, path: str) -> Response:
        found = _GIT.fullmatch(scope["path"])
        if found is not None and not scope["path"].startswith(f"{self.state.api_prefix}/"):
            return await run_in_threadpool(self._git, Request(scope), body, found["name"], found["rest"])
        return await self._ask_api(scope, body, path)

    async def _ask_api(self, scope: Message, body: bytes, path: str) -> Response:
        prefix = self.state.api_prefix
        inner = path.removeprefix(prefix)
        is_api = path.startswith(f"{prefix}/") and self.spec is not None
        if is_api and self.spec is not None:
            self.spec.check_request(scope["method"], inner, _json(body))
        kept: list[Message] = []
        fed = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            return next(fed, {"type": "http.disconnect"})

        async def keep(message: Message) -> None:
            kept.append(message)

        await self._api(scope, receive, keep)
        content = b"".join(message.get("body", b"") for message in kept[1:])
        answer = Response(content, kept[0]["status"])
        answer.raw_headers = [*kept[0]["headers"]]
        for name, value in self.state.headers(Request(scope)).items():
            answer.headers[name] = value
        if is_api and self.spec is not None:
            self.spec.check_answer(scope["method"], inner, answer.status_code, _json(content))
        return answer

    async def _refuse(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Denied(error.status_code, str(error.detail), "missing")
        assert isinstance(error, Denied)
        headers = {}
        if isinstance(error, Moved):
            place = request.url.path.replace(error.old, error.new)
            headers["location"] = f"{self.state.url}{place}"
        return JSONResponse(self.state.denied(error), error.status, headers=headers)

    # --- git

    def _git(self, request: Request, body: bytes, name: str, rest: str) -> Response:
        writes = rest == "git-receive-pack" or request.query_params.get("service") == "git-receive-pack"
        try:
            repository = self.state.at(name)
            user = self._who(request, repository, writes)
        except Moved as moved:
            query = f"?{request.url.query}" if request.url.query else ""
            return Response("", 301, {"location": f"{self.state.url}/{moved.new}.git/{rest}{query}"})
        except Denied as denied:
            headers = {"www-authenticate": 'Basic realm="git"'} if denied.status == 401 else {}
            return Response(denied.message, denied.status, headers)
        if rest != "git-receive-pack":
            return self._backend(request, body, repository, user, rest)
        with self._pushing.setdefault(repository.id, threading.Lock()):
            before = gitwork.refs(repository.folder)
            answer = self._backend(request, body, repository, user, rest)
            after = gitwork.refs(repository.folder)
        for ref in sorted(before.keys() | after.keys()):
            old, new = before.get(ref, gitwork.ZERO), after.get(ref, gitwork.ZERO)
            if old != new and user is not None and not ref.startswith("refs/pull/"):
                self.state.pushed(user, repository, ref, old, new)
        return answer

    def _who(self, request: Request, repository: Repository, writes: bool) -> User | None:
        """The user behind Basic auth; None: anybody, who reads what is public."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        token = base64.b64decode(value).decode().partition(":")[2] if kind.lower() == "basic" else ""
        found = self.state.bearer(token)
        if found is None:
            if not token and not repository.private and not writes:
                return None
            raise Denied(401, "Authentication failed", "token")
        user, scopes = found
        if not scopes & (self.state.git_write if writes else self.state.git_read):
            raise Denied(403, "the token's scopes do not allow this", "scope")
        self.state.need(user, repository, "write" if writes else "read")
        return user

    def _backend(self, request: Request, body: bytes, repository: Repository, user: User | None, rest: str) -> Response:
        closed = self.state.closed_refs(user, repository) if user else ["*"]
        environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(repository.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": f"/{rest}",
            "QUERY_STRING": request.url.query, "REQUEST_METHOD": request.method, "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": user.login if user else "", "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "FORGE_CLOSED": "\n".join(closed), "FORGE_FORWARD_ONLY": "\n".join(self.state.forward_only(repository)),
            "FORGE_WORDS": "GH006: Protected branch update failed for",
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split(" ")[0]) if head else 500
        return Response(content, status, headers)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that nobody else signed, for 127.0.0.1."""
    certificate, key = folder / "forge.crt", folder / "forge.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def trusting(certificate: Path) -> ssl.SSLContext:
    """For a test's own client."""
    return ssl.create_default_context(cafile=str(certificate))
