"""`POST /api/plan`: who may ask, and that asking leaves nothing."""

from __future__ import annotations

import pytest

from tests.door import Door
from tests.unit.test_pipeline import alert

pytestmark = pytest.mark.anyio
BODY = {
    "version": "4",
    "alerts": [{"status": "firing", "labels": alert().labels, "annotations": {}, "startsAt": "2026-11-26T10:00:00Z"}],
}


async def test_a_reader_asks_and_nothing_is_kept(door: Door) -> None:
    headers = await door.token("read")
    answer = await door.http.post("/api/plan?source=prom", json=BODY, headers=headers)
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["items"]
    assert found["entity"]["name"] == "web1" and found["plan"]["playbook"] == "web_restart"
    assert found["verdict"].startswith("web_restart would be planned, and held back by confirmed")
    for table in ("cases", "alerts", "deliveries", "proposal_slots"):
        assert await door.rows(f"SELECT FROM {table}") == []


async def test_who_may_not_ask(door: Door) -> None:
    assert (await door.http.post("/api/plan", json=BODY, headers=await door.token("alerts:write"))).status_code == 403
    assert (await door.http.post("/api/plan", json=BODY)).status_code in (401, 403)
    guest = await door.session("guest")
    assert (await guest.post("/api/plan", json=BODY)).status_code == 200
    foreign = await guest.post("/api/plan", json=BODY, headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, foreign.json()["reason"]) == (403, "origin")
    await guest.aclose()


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"alerts": []}', b""])
async def test_what_is_no_payload_is_refused(door: Door, body: bytes) -> None:
    answer = await door.http.post("/api/plan", content=body, headers=await door.token("read"))
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid")
