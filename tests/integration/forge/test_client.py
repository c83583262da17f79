"""The one way of asking a forge: what is sent once, what is asked again, what is refused, and what is never said."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.adapters.forge import client as client_module
from receiver.adapters.forge.client import ForgeClient
from receiver.adapters.forge.settings import ForgeSettings
from receiver.errors import Conflict, Refused, Retry, Unavailable
from tests.forges.pulls import State
from tests.forges.server import ForgeServer

pytestmark = pytest.mark.anyio
TOKEN = "tok-5f0c2a9e71d84b36"
DOING = "asking"


class Scripted:
    """A server that answers what a test wrote down, in that order; then `{}`."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes, float]] = []
        script = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.seen.append((self.command, self.path, headers, body, time.monotonic()))
                status, more, content = script.answers.pop(0) if script.answers else (200, {}, b"{}")
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response_only(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if status != 304 else b"")

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def says(self, status: int, value: Any = None, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.answers.append((status, named, b"" if value is None else content))


@pytest.fixture
def script() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.stop()


Making = Callable[..., ForgeClient]


@pytest.fixture
async def make(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Making]:
    monkeypatch.setattr(client_module, "_AGAIN", (0.01, 0.02))
    made: list[ForgeClient] = []

    def client(token: str = TOKEN, url: str = "", **more: Any) -> ForgeClient:
        async def authorize() -> Mapping[str, str]:
            return {"Authorization": f"Bearer {token}"}

        settings = ForgeSettings(
            kind="gitea", url=f"{url or script.url}/ops/infra", token_file=Path("x"), **{"write_seconds": 0, **more}
        )
        made.append(ForgeClient(settings, authorize))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


async def test_the_token_goes_in_a_header(make: Making, script: Scripted):
    script.says(200, {"id": 1})
    assert await make().get("/user", doing=DOING) == {"id": 1}
    method, path, headers, *_ = script.seen[0]
    assert (method, path, headers["authorization"]) == ("GET", "/api/v1/user", f"Bearer {TOKEN}")


# --- what is refused


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_for_a_person(make: Making, script: Scripted, status: int):
    for send in (make().get("x", doing=DOING), make().write("POST", "x", {}, doing=DOING)):
        script.says(status, {"message": "Moved"}, location=f"{script.url}/api/v1/y")
        with pytest.raises(Refused, match=f"{status} Moved") as caught:
            await send
        assert caught.value.reason == "moved"
        assert f"{script.url}/api/v1/y" in caught.value.next_step
    assert [path for _, path, *_ in script.seen] == ["/api/v1/x"] * 2


async def test_an_answer_above_the_cap(make: Making, script: Scripted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "MAX_BYTES", 1 << 20)
    for _ in range(3):
        script.says(200, b'["' + b"x" * (1 << 20) + b'"]')
    with pytest.raises(Unavailable, match="larger than 1 MB"):
        await make().get("x", doing=DOING)


async def test_a_next_page_on_another_server(make: Making, script: Scripted):
    script.says(200, [1], link='<https://evil.example/api/v1/x?page=2>; rel="next"')
    with pytest.raises(Refused, match=r"evil\.example"):
        await make().pages("x", doing=DOING)
    assert len(script.seen) == 1


async def test_another_port_or_scheme_is_another_server(make: Making, script: Scripted):
    for place in ("http://127.0.0.1:1/x", script.url.replace("http:", "https:"), "//evil.example/x"):
        script.says(200, [1], link=f'<{place}>; rel="next"')
        with pytest.raises(Refused):
            await make().pages("x", doing=DOING)
    assert len(script.seen) == 3


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, Refused, "token"), (403, Refused, "forbidden"), (404, Refused, "not_found"), (410, Refused, "not_found"),
        (409, Conflict, "conflict"), (422, Refused, "http_422"), (400, Refused, "http_400"),
    ],
)  # fmt: skip
async def test_an_error_by_its_consequence(
    make: Making, script: Scripted, status: int, error: type[Refused], reason: str
):
    said = {"message": "No", "errors": [{"message": "why"}, "and why"]}
    script.says(status, said)
    with pytest.raises(error, match=f"asking: gitea answers {status} No; why; and why") as caught:
        await make().write("POST", "x", {}, doing=DOING)
    assert caught.value.reason == reason
    script.says(status, said)
    with pytest.raises(error):
        await make().get("x", doing=DOING)
    assert len(script.seen) == 2


# --- what is asked again, and what is not


@pytest.mark.parametrize("status", [0, 408, 500, 502, 503, 504])
async def test_a_read_is_asked_again(make: Making, script: Scripted, status: int):
    script.says(status)
    script.says(status)
    script.says(200, {"id": 1})
    assert await make().get("x", doing=DOING) == {"id": 1}
    for _ in range(3):
        script.says(status)
    with pytest.raises(Unavailable):
        await make().get("x", doing=DOING)
    assert len(script.seen) == 6


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_sent_once(make: Making, script: Scripted, method: str, status: int):
    script.says(status)
    with pytest.raises(Unavailable):
        await make().write(method, "x", {"a": 1}, doing=DOING)
    assert [(one[0], json.loads(one[3])) for one in script.seen] == [(method, {"a": 1})]


async def test_one_write_at_a_time_with_a_pause(make: Making, script: Scripted):
    client = make(write_seconds=0.15)
    await asyncio.gather(*(client.write("POST", "x", {"n": n}, doing=DOING) for n in range(3)))
    times = [one[4] for one in script.seen]
    assert [later - earlier >= 0.15 for earlier, later in itertools.pairwise(times)] == [True, True]
    script.says(500)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await client.write("POST", "x", {}, doing=DOING)
    await client.write("POST", "x", {}, doing=DOING)
    assert script.seen[-1][4] - begun >= 0.15, "also after one that failed"


async def test_a_status_that_is_fine_is_an_answer(make: Making, script: Scripted):
    script.says(422, {"message": "exists"})
    answer = await make().write("POST", "x", {}, doing=DOING, fine=frozenset({422}))
    assert (answer.status, answer.body) == (422, {"message": "exists"})
    script.says(404, {"message": "Not Found"})
    assert await make().get("x", doing=DOING, missing=True) is None


# --- limits


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_retry_after_is_waited_for(make: Making, script: Scripted, status: int):
    client = make()
    script.says(status, {"message": "slow down"}, retry_after="40")
    for _ in range(2):
        with pytest.raises(Retry) as caught:
            await client.get("x", doing=DOING)
        assert 38 < caught.value.after_seconds <= 40
    with pytest.raises(Retry):
        await client.write("POST", "x", {}, doing=DOING)
    assert len(script.seen) == 1


async def test_retry_after_as_a_date_by_the_forges_own_clock(make: Making, script: Scripted):
    theirs = datetime.now(UTC) - timedelta(hours=3)
    until = format_datetime(theirs + timedelta(seconds=30), usegmt=True)
    script.says(429, {}, retry_after=until, date=format_datetime(theirs, usegmt=True))
    with pytest.raises(Retry) as caught:
        await make().get("x", doing=DOING)
    assert 28 < caught.value.after_seconds <= 30


@pytest.mark.parametrize(
    "names", [("x_ratelimit_remaining", "x_ratelimit_reset"), ("ratelimit_remaining", "ratelimit_reset")]
)
@pytest.mark.parametrize("hours", [0, 5])
async def test_a_limit_that_is_used_up(make: Making, script: Scripted, names: tuple[str, str], hours: int):
    theirs = datetime.now(UTC) - timedelta(hours=hours)
    said = {names[0]: "0", names[1]: str(int(theirs.timestamp()) + 50), "date": format_datetime(theirs, usegmt=True)}
    script.says(403, {"message": "API rate limit exceeded"}, **said)
    with pytest.raises(Retry) as caught:
        await make().get("x", doing=DOING)
    assert 45 < caught.value.after_seconds <= 51


async def test_a_limit_in_words_alone(make: Making, script: Scripted):
    script.says(403, {"message": "You have exceeded a secondary rate limit. Please wait."})
    with pytest.raises(Retry) as caught:
        await make().write("POST", "x", {}, doing=DOING)
    assert 55 < caught.value.after_seconds <= 60


async def test_a_limit_is_never_an_expected_refusal(make: Making, script: Scripted):
    for send in (
        make().write("PUT", "x", {}, doing=DOING, fine=frozenset({403})),
        make().answer("x", doing=DOING, fine=frozenset({403})),
    ):
        script.says(403, {"message": "secondary rate limit"}, retry_after="30")
        with pytest.raises(Retry):
            await send


@pytest.mark.parametrize("said", ["1e9", "inf", "nan", "-5", "soon"])
async def test_a_pause_is_believed_for_an_hour_at_most(make: Making, script: Scripted, said: str):
    script.says(429, {}, retry_after=said)
    with pytest.raises(Retry) as caught:
        await make().write("POST", "x", {}, doing=DOING)
    assert 5 <= caught.value.after_seconds <= 3600


# --- pages and conditional requests


async def test_all_pages_each_with_its_query(make: Making, script: Scripted):
    for page in (2, 3):
        link = f'<{script.url}/api/v1/x?labels=a,b&page={page}>; rel="next", <{script.url}/api/v1/x?page=9>; rel="last"'
        script.says(200, [page - 1], link=link)
    script.says(200, [3], link=f'<{script.url}/api/v1/x?page=1>; rel="first"')
    assert await make().pages("x", doing=DOING, params={"per_page": 1}) == [1, 2, 3]
    assert [path for _, path, *_ in script.seen] == [
        "/api/v1/x?per_page=1", "/api/v1/x?labels=a,b&page=2", "/api/v1/x?labels=a,b&page=3"
    ]  # fmt: skip


async def test_an_empty_page_is_not_the_end(make: Making, script: Scripted):
    script.says(200, [], link="</api/v1/x?page=2>; rel=next")
    script.says(200, [1])
    assert await make().pages("x", doing=DOING) == [1]


async def test_pages_without_end(make: Making, script: Scripted):
    for _ in range(5):
        script.says(200, [1], link=f'<{script.url}/api/v1/x>; rel="next"')
    with pytest.raises(Unavailable, match="more than 5 pages"):
        await make().pages("x", doing=DOING, most=5)


async def test_a_page_that_is_no_list(make: Making, script: Scripted):
    script.says(200, b"<html>")
    with pytest.raises(Unavailable, match="no list"):
        await make().pages("x", doing=DOING)


async def test_what_did_not_change_is_not_sent_again(make: Making, script: Scripted):
    client = make()
    script.says(200, [1], etag='"a"')
    script.says(304)
    script.says(200, [2], etag='"b"')
    found = [await client.fresh("x", doing=DOING, params={"state": "all"}) for _ in range(3)]
    assert found == [[1], [1], [2]]
    assert [one[2].get("if-none-match") for one in script.seen] == [None, '"a"', '"a"']
    script.says(200, [3])
    assert await client.fresh("x", doing=DOING, params={"state": "open"}) == [3]
    assert "if-none-match" not in script.seen[-1][2]


async def test_the_newest_of_a_list_up_to_what_is_known(make: Making, script: Scripted):
    client = make()
    script.says(200, [9, 8], etag='"a"', link=f'<{script.url}/api/v1/x?page=2>; rel="next"')
    script.says(200, [7, 6], link=f'<{script.url}/api/v1/x?page=3>; rel="next"')
    asked = {"doing": DOING, "params": {"sort": "updated"}}
    assert await client.newest("x", enough=lambda item: item < 7, **asked) == [9, 8, 7]
    assert len(script.seen) == 2
    script.says(304)
    script.says(200, [7])
    assert await client.newest("x", enough=lambda item: item < 7, **asked) == [9, 8, 7]
    script.says(304)
    assert await client.newest("x", enough=lambda item: item < 9, **asked) == [9]
    script.says(304)
    assert await client.newest("x", enough=lambda item: False, most=1, **asked) == [9, 8]
    assert [path for _, path, *_ in script.seen[4:]] == ["/api/v1/x?sort=updated"] * 2


async def test_not_modified_is_no_answer_to_a_plain_question(make: Making, script: Scripted):
    script.says(304)
    with pytest.raises(Refused):
        await make().get("x", doing=DOING)


# --- secrets


@pytest.mark.parametrize("status", [301, 400, 401, 403, 409, 422, 500])
async def test_a_forge_that_repeats_the_token(
    make: Making, script: Scripted, caplog: pytest.LogCaptureFixture, status: int
):
    caplog.set_level(logging.DEBUG)
    echo = {"message": f"your header was Bearer {TOKEN}", "errors": [TOKEN]}
    script.says(status, echo, location=f"http://h/{TOKEN}")
    with pytest.raises((Refused, Retry)) as caught:
        await make().write("POST", "x", {}, doing=DOING)
    said = [str(caught.value), caught.value.message, getattr(caught.value, "next_step", ""), repr(caught.value)]
    assert TOKEN not in "".join(
        (*said, *(record.getMessage() for record in caplog.records if "httpcore" not in record.name))
    )


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\r\nX: y", f"{TOKEN}é", f"{TOKEN}\0"])
async def test_a_token_that_is_no_header_is_in_no_error(make: Making, script: Scripted, token: str):
    with pytest.raises(Refused) as caught:
        await make(token).get("x", doing=DOING)
    assert (caught.value.reason, TOKEN in repr(caught.value)) == ("token", False)
    assert script.seen == []


async def test_nobody_there(make: Making, script: Scripted):
    with pytest.raises(Unavailable) as caught:
        await make(url="http://127.0.0.1:1").get("x", doing=DOING)
    assert TOKEN not in str(caught.value)


async def test_an_answer_that_never_ends(make: Making):
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        client = make(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_seconds=0.2)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(client.write("POST", "x", {}, doing=DOING), 5)
        await client.aclose()


# --- certificates


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ForgeServer]:
    """Asked for before the client, so that the client goes first."""
    with ForgeServer(State(tmp_path), tls=True) as server:
        yield server


async def test_a_certificate_that_nobody_signed(guarded: ForgeServer, make: Making):
    with pytest.raises(Refused, match="not trusted: self-signed certificate") as caught:
        await make(url=guarded.state.url).get("x", doing=DOING)
    assert (caught.value.reason, "forge.ca_file" in caught.value.next_step) == ("certificate", True)
    assert guarded.faults.log == []


async def test_a_certificate_that_is_pinned(guarded: ForgeServer, make: Making):
    with pytest.raises(Refused, match="404"):
        await make(url=guarded.state.url, ca_file=guarded.ca_file).get("x", doing=DOING)
    assert len(guarded.faults.log) == 1


async def test_a_pinned_one_is_the_only_one(guarded: ForgeServer, make: Making, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = ForgeServer(State(tmp_path / "other"), tls=True)
    with other, pytest.raises(Refused, match="not trusted"):
        await make(url=guarded.state.url, ca_file=other.ca_file).get("x", doing=DOING)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_file_that_holds_none(make: Making, tmp_path: Path, content: bytes | None):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refused, match=r"ca\.pem"):
        make(url="https://127.0.0.1:1", ca_file=file)


async def test_no_proxy_of_the_environment(make: Making, script: Scripted, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await make().get("x", doing=DOING)
    assert len(script.seen) == 1


def test_httpx_takes_away_a_query_when_it_is_given_none_at_all():
    """Why the client sends no empty parameters."""
    assert str(httpx.URL("http://h/x?page=2", params={})) == "http://h/x"
