"""Webhooks that are too large, of somebody else, in another form, or while the store is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from receiver.errors import Unavailable
from receiver.web.hooks import forge
from tests.door import Door
from tests.integration.web.test_forge_hooks import KINDS, Hook, opened

pytestmark = pytest.mark.anyio


@pytest.fixture(params=KINDS)
async def hook(request: pytest.FixtureRequest, door: Door) -> AsyncIterator[Hook]:
    made = opened(door, request.param)
    async with made.http:
        yield made


async def test_another_repository_is_ignored(hook: Hook) -> None:
    assert (await hook.send(hook.payload(repository=43))).status_code == 202
    assert await hook.rows() == []
    assert hook.counted == {"other_repository": 1}


@pytest.mark.parametrize("payload", [{"zen": "Keep it simple."}, {"action": "starred", "repository": {"id": 42}}, {}])
async def test_other_events_are_ignored(hook: Hook, payload: dict[str, Any]) -> None:
    assert (await hook.send(payload)).status_code == 202
    assert await hook.rows() == []
    assert hook.counted == {"ignored": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_object_is_refused(hook: Hook, body: bytes) -> None:
    assert (await hook.post(body, hook.headers(body))).status_code == 422
    assert hook.counted == {"unreadable": 1}


async def test_only_json_is_read(hook: Hook) -> None:
    form = b"payload=" + json.dumps(hook.payload()).encode()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/jsonp", "", None):
        headers = {name: value for name, value in hook.headers(form).items() if name != "Content-Type"}
        answer = await hook.post(form, headers | ({"Content-Type": kind} if kind is not None else {}))
        assert (answer.status_code, "application/json" in answer.text) == (415, True)
    assert hook.counted == {"not_json": 5}
    assert (await hook.send(**{"Content-Type": "Application/JSON; charset=utf-8"})).status_code == 202


@pytest.mark.parametrize(
    "path",
    ["/hooks/github/43", "/hooks/svn/42", "/hooks/github/042", "/hooks/github/4%32x", "/hooks/github/", "/hooks/github",
     "/hooks/GitHub/42", "/hooks/%F0%9F%92%A5/42"],
)  # fmt: skip
async def test_the_address_says_which_forge(door: Door, path: str) -> None:
    hook = opened(door, "github")
    body = json.dumps(hook.payload()).encode()
    answer = await hook.post(body, hook.headers(body), path)
    assert answer.status_code == 404
    assert "error" in answer.json()
    gitea = opened(door, "gitea")
    assert (await hook.post(body, gitea.headers(body), "/hooks/gitea/42")).status_code == 404
    assert await hook.rows() == []


async def test_where_no_forge_is_set_nothing_is_taken(door: Door) -> None:
    hook = opened(door, "github")
    body = json.dumps(hook.payload()).encode()
    assert (await door.http.post(hook.path, content=body, headers=hook.headers(body))).status_code == 404


async def test_it_is_asked_by_post_under_any_name_without_a_session(hook: Hook) -> None:
    assert (await hook.send(Host="ops.example.org", Origin="https://evil.example")).status_code == 202
    for method in ("GET", "PUT", "DELETE"):
        assert (await hook.http.request(method, hook.path)).status_code == 405


async def test_a_delivery_of_25_mebibytes_is_read_and_one_byte_more_is_not(hook: Hook) -> None:
    start = json.dumps(hook.payload())[:-1].encode() + b', "more": "'
    body = start + b"x" * (forge.MAX_BYTES - len(start) - 2) + b'"}'
    assert len(body) == forge.MAX_BYTES
    assert (await hook.post(body, hook.headers(body))).status_code == 202
    assert (await hook.post(body + b" ", hook.headers(body + b" "))).status_code == 413
    assert hook.counted == {"taken": 1, "too_large": 1}


@pytest.mark.parametrize("declared", [None, "10", str(30 << 20), "9" * 40, "１０"])
async def test_nothing_is_read_beyond_the_cap(hook: Hook, declared: str | None) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1 << 20
            yield b" " * (1 << 20)

    headers = hook.headers(b"") | ({"Content-Length": declared.encode()} if declared else {})
    assert (await hook.post(endless(), headers)).status_code == 413
    assert read <= forge.MAX_BYTES + (2 << 20)


async def test_what_claims_nothing_is_not_read(hook: Hook) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert (await hook.post(never(), {"Content-Type": "application/json"})).status_code == 403


async def test_a_body_that_never_ends(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forge, "_READ_SECONDS", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    assert (await asyncio.wait_for(hook.post(slow(), hook.headers(b"{")), 10)).status_code == 408
    assert hook.counted == {"slow": 1}


async def test_large_bodies_are_read_a_few_at_a_time_and_small_ones_pass_them(door: Door) -> None:
    hook = opened(door, "github")
    reading, most, go_on = 0, 0, asyncio.Event()

    async def large() -> AsyncIterator[bytes]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        yield b" " * (2 << 20)
        await go_on.wait()
        reading -= 1

    sending = [asyncio.create_task(hook.post(large(), hook.headers(b"x"))) for _ in range(12)]
    while reading < 4:
        await asyncio.sleep(0.01)
    assert (await hook.send()).status_code == 202
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*sending)] == [403] * 12
    assert most == 4


async def test_while_the_store_is_away(door: Door) -> None:
    class Away:
        async def take(self, delivery: object) -> bool:
            raise Unavailable("the database at 10.0.0.1 is not available")

    hook = opened(door, "gitea", deliveries=Away())
    answer = await hook.send()
    assert (answer.status_code, hook.counted) == (503, {"not_stored": 1})
    assert "10.0.0.1" not in answer.text


@pytest.mark.parametrize("id", [None, "", "x" * 101, "sp ace", "\xe9".encode("latin-1"), "a\x01b"])
async def test_an_odd_name_of_a_delivery_is_replaced_by_its_content(door: Door, id: Any) -> None:
    hook = opened(door, "github")
    answers = [(await hook.send(**{"X-GitHub-Delivery": id})).status_code for _ in range(2)]
    assert answers == [202, 200]
    (row,) = await hook.rows()
    assert len(row["id"]) == 64


async def test_odd_bytes_in_every_header(hook: Hook) -> None:
    odd = {name: b"\xc3\xa9\xff" for name in hook.headers(b"")} | {"Content-Type": "application/json"}
    assert (await hook.post(b"{}", odd)).status_code == 403
