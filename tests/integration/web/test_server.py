"""The real server on a real port: what only sockets show."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from receiver.domain.case import Planned
from receiver.domain.outcome import Mode
from receiver.domain.plan import Plan
from receiver.errors import Refused
from receiver.identity import new_id
from receiver.ports import Event
from receiver.web import server
from tests.door import Door, serving

pytestmark = pytest.mark.anyio
ALERT = {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-26T00:00:00Z"}


async def opened(door: Door) -> str:
    """A case to look at."""
    plan = Plan(action="playbook", playbook="web_restart", why="w")
    case = Planned(
        id=new_id(), opened_at=datetime.now(UTC), revision="c" * 40, mode=Mode.PROPOSE, entity=None, plan=plan
    )
    await door.office.store.desk.open(case, [Event(kind="case.planned", actor="user:anna", text="first")])
    return case.id


async def lines(answer: httpx.Response, count: int) -> list[dict[str, Any]]:
    """The first events of a stream."""
    found: list[dict[str, Any]] = []
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            found.append({"id": line[4:]})
        elif line.startswith("data: "):
            found[-1]["data"] = json.loads(line[6:])
            if len(found) == count:
                break
    return found


async def test_a_stream_resumes_after_the_last_event_and_ends_with_the_server(door: Door) -> None:
    case, headers = await opened(door), {**await door.token("read"), "Accept": "text/event-stream"}
    async with (
        serving(door) as (url, stop, running),
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http,
    ):
        path = f"/api/cases/{case}/events"
        async with http.stream("GET", path) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            (first,) = await lines(answer, 1)
        assert (first["id"], first["data"]["actor"]) == ("1", "user:anna")
        await door.office.store.desk.note(case, Event(kind="case.note", actor="user:anna", text="second"))
        async with http.stream("GET", path, headers={"Last-Event-ID": "1"}) as answer:
            (second,) = await lines(answer, 1)
            assert (second["id"], second["data"]["text"]) == ("2", "second")
        async with http.stream("GET", path, headers={"Last-Event-ID": "2"}) as answer:
            began = time.monotonic()
            stop.set()
            async for _ in answer.aiter_lines():
                pass
            await running
            assert time.monotonic() - began < 3


async def test_a_stream_ends_for_whoever_may_no_longer_read(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.web.changes.PING_SECONDS", 0.2)
    case, accepts = await opened(door), {"Accept": "text/event-stream"}
    access = door.office.store.access
    secret = await access.create_token("leaving", "read", created_by="os:test")
    stays = {**await door.token("read"), **accepts}
    path = f"/api/cases/{case}/events"
    async with serving(door) as (url, _, _), httpx.AsyncClient(base_url=url, timeout=30) as http:
        async with (
            http.stream("GET", path, headers={"Authorization": f"Bearer {secret}", **accepts}) as leaving,
            http.stream("GET", path, headers=stays) as staying,
        ):
            await lines(staying, 1)
            await access.revoke_token("leaving")
            async with asyncio.timeout(10):
                async for _ in leaving.aiter_lines():
                    pass
            await door.office.store.desk.note(case, Event(kind="case.note", actor="user:anna", text="second"))
        async with http.stream("GET", path, headers={**stays, "Last-Event-ID": "1"}) as staying:
            (second,) = await lines(staying, 1)
            assert second["data"]["text"] == "second"


async def test_too_much_is_refused_while_it_is_still_being_sent(door: Door) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(400):
            sent += 1 << 18
            yield b"x" * (1 << 18)

    headers = await door.token("alerts:write")
    async with serving(door) as (url, _, _), httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        try:
            answer = await http.post("/alertmanager/prom", content=chunks())
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            assert sent < 100 << 20  # cut off before all was sent
        again = await http.post("/alertmanager/prom", json={"alerts": [ALERT]})
        assert again.status_code == 200
    assert len(await door.rows("SELECT FROM deliveries")) == 1


async def test_a_sender_that_hangs_up_harms_nobody(door: Door) -> None:
    headers = await door.token("alerts:write")
    async with serving(door) as (url, _, _):
        port = int(url.rpartition(":")[2])
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"POST /alertmanager/prom HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n"
                "Content-Length: 100000\r\n\r\n{".encode()
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            assert (await http.post("/alertmanager/prom", json={"alerts": [ALERT]})).status_code == 200
    assert len(await door.rows("SELECT FROM deliveries")) == 1


async def test_a_database_that_comes_back_is_used_again(door: Door, database: str) -> None:
    headers = await door.token("alerts:write")
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    admin = psycopg.conninfo.make_conninfo(database, dbname="postgres")
    async with serving(door) as (url, _, _), httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[arg-type]
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            assert (await http.post("/alertmanager/prom", json={"alerts": [ALERT]})).status_code == 503
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[arg-type]
        async with asyncio.timeout(45):
            while (await http.post("/alertmanager/prom", json={"alerts": [ALERT]})).status_code != 200:
                await asyncio.sleep(0.5)
        assert (await http.get("/readyz")).status_code == 200
    (row,) = await door.rows("SELECT times_seen FROM alerts")
    assert row["times_seen"] == 1


async def test_a_port_that_is_taken_is_refused_in_words() -> None:
    first = server.bind("127.0.0.1", 0)
    first.listen()
    port = first.getsockname()[1]
    with pytest.raises(Refused) as refused:
        server.bind("127.0.0.1", port)
    assert f"127.0.0.1:{port}" in refused.value.message and "--listen" in refused.value.next_step
    first.close()


async def test_a_keep_alive_answer_does_not_wait_for_an_acknowledgement(door: Door) -> None:
    listening = server.bind("127.0.0.1", 0)
    listening.listen()
    try:
        # asyncio turns Nagle's delay off only where the protocol is named
        assert listening.proto == socket.IPPROTO_TCP
    finally:
        listening.close()


async def test_many_requests_share_a_question_for_their_token(door: Door) -> None:
    access = door.office.store.access
    secret = await access.create_token("storm", "alerts:write", created_by="os:test")
    asked = await asyncio.gather(*[access.token(one) for one in [secret, "gm_unknown"] * 50])
    assert [token.name if token else None for token in asked] == ["storm", None] * 50
    under_way = asyncio.create_task(access.token(secret))
    await asyncio.sleep(0)
    hung_up = asyncio.create_task(access.token(secret))
    await asyncio.sleep(0)
    hung_up.cancel()
    found = await under_way
    assert found is not None and found.name == "storm"
    await access.revoke_token("storm")
    assert await access.token(secret) is None
