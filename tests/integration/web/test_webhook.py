"""What a real Alertmanager sent, and what nobody should send, through the front door."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.door import Door

CAPTURES = Path(__file__).parents[2] / "data" / "alertmanager"


def capture(name: str) -> bytes:
    return json.dumps(json.loads((CAPTURES / f"webhook-{name}.json").read_text())["body"]).encode()


async def send(door: Door, body: bytes, headers: dict[str, str], path: str = "/alertmanager/prom") -> Any:
    return await door.http.post(path, content=body, headers=headers)


@pytest.mark.anyio
@pytest.mark.parametrize("name", sorted(path.stem.removeprefix("webhook-") for path in CAPTURES.glob("webhook-*.json")))
async def test_every_captured_payload_is_stored(door: Door, name: str) -> None:
    body = capture(name)
    answer = await send(door, body, await door.token("alerts:write"))
    assert answer.status_code == 200
    alerts = json.loads(body)["alerts"]
    assert answer.json() == {"alerts": len(alerts), "new": len(alerts), "unreadable": 0}
    rows = await door.rows("SELECT fingerprint, labels, status, truncated FROM alerts")
    assert {row["fingerprint"] for row in rows} == {alert["fingerprint"] for alert in alerts}
    assert {json.dumps(row["labels"], sort_keys=True) for row in rows} == {
        json.dumps(alert["labels"], sort_keys=True) for alert in alerts
    }
    assert all(row["truncated"] == (json.loads(body)["truncatedAlerts"] > 0) for row in rows)
    (delivery,) = await door.rows("SELECT body FROM deliveries")
    assert bytes(delivery["body"]) == body


@pytest.mark.anyio
async def test_repeats_ends_and_duplicates_are_harmless(door: Door) -> None:
    headers = await door.token("alerts:write")
    for name in ("firing-single", "firing-repeat", "resolved", "firing-single"):
        assert (await send(door, capture(name), headers)).status_code == 200
    rows = await door.rows("SELECT status, times_seen, resolved_at FROM alerts")
    assert len(rows) == 1 and rows[0]["status"] == "resolved" and rows[0]["times_seen"] == 4
    for name in ("ha-duplicate-1", "ha-duplicate-2"):
        assert (await send(door, capture(name), headers)).status_code == 200
    await door.open_cases()
    assert len(await door.rows("SELECT FROM cases")) == 2


@pytest.mark.anyio
async def test_sixty_three_good_posts_and_one_poison(door: Door) -> None:
    headers = await door.token("alerts:write")

    def good(number: int) -> bytes:
        alert = {"status": "firing", "labels": {"alertname": f"A{number}"}, "startsAt": "2026-11-26T00:00:00Z"}
        return json.dumps({"alerts": [alert]}).encode()

    poison = json.dumps(
        {"alerts": [{"status": "firing", "labels": {"a": "\x00\ud800"}, "startsAt": "99999-01-01T00:00:00Z"}]}
    ).encode()
    bodies = [good(number) for number in range(63)] + [poison]
    answers = await asyncio.gather(*[send(door, body, headers) for body in bodies])
    assert [answer.status_code for answer in answers] == [200] * 64
    assert len(await door.rows("SELECT FROM alerts")) == 63
    assert len(await door.rows("SELECT FROM unreadable")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b'{"alerts": 7}'])
async def test_what_is_no_webhook_is_kept_and_answered(door: Door, body: bytes) -> None:
    answer = await send(door, body, await door.token("alerts:write"))
    assert answer.status_code == 200 and answer.json()["unreadable"] == 1
    reader = await door.token("read")
    page = (await door.http.get("/api/alerts", params={"why": "unreadable"}, headers=reader)).json()
    assert [item["why"] for item in page["items"]] == ["unreadable"]


@pytest.mark.anyio
async def test_too_large_is_413_and_not_read_on(door: Door) -> None:
    headers = await door.token("alerts:write")
    assert (await send(door, b"x" * (30 << 20), headers)).status_code == 413

    async def chunks() -> Any:
        for _ in range(30):
            yield b"x" * (1 << 20)

    answer = await door.http.post("/alertmanager/prom", content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert await door.rows("SELECT FROM deliveries") == []


@pytest.mark.anyio
async def test_who_may_post(door: Door) -> None:
    body = capture("firing-single")
    assert (await send(door, body, {})).status_code == 401
    assert (await send(door, body, {"Authorization": "Bearer nonsense"})).status_code == 401
    assert (await send(door, body, {"Authorization": "Basic %%%"})).status_code == 401
    assert (await send(door, body, await door.token("read"))).status_code == 403
    assert (await send(door, body, await door.token("alerts:write", "other"))).status_code == 403
    unknown = await send(door, body, await door.token("alerts:write"), "/alertmanager/nowhere")
    assert unknown.status_code == 404 and "prom, other" in unknown.json()["error"]
    assert await door.rows("SELECT FROM deliveries") == []
    first, second = await door.token("alerts:write", "prom"), await door.token("alerts:write", "prom")
    secret = second["Authorization"].removeprefix("Bearer ")
    basic = {"Authorization": "Basic " + base64.b64encode(f"anybody:{secret}".encode()).decode()}
    for headers in (first, second, basic):
        assert (await send(door, body, headers)).status_code == 200
    assert (await send(door, body, first, "/alertmanager")).status_code == 200
    await door.office.store.access.revoke_token((await door.office.store.access.list_tokens())[-1]["name"])
    assert (await send(door, body, second)).status_code == 401


@pytest.mark.anyio
async def test_an_alert_says_why_nothing_happened(door: Door) -> None:
    headers, reader = await door.token("alerts:write"), await door.token("read")
    await send(door, capture("resolved"), headers)
    (item,) = (await door.http.get("/api/alerts", headers=reader)).json()["items"]
    assert item["why"] == "resolved_first"
    watchdog = {"status": "firing", "labels": {"alertname": "Watchdog"}, "startsAt": "2026-11-26T00:00:00Z"}
    await send(door, json.dumps({"alerts": [watchdog]}).encode(), headers)
    page = (await door.http.get("/api/alerts", params={"why": "benign"}, headers=reader)).json()
    assert [one["labels"]["alertname"] for one in page["items"]] == ["Watchdog"]


@pytest.mark.anyio
async def test_a_database_that_is_gone_is_503(door: Door) -> None:
    headers = await door.token("alerts:write")
    assert (await door.http.get("/readyz")).status_code == 200
    await door.office.store.pool.close()
    answer = await send(door, capture("firing-single"), headers)
    assert answer.status_code == 503
    assert (await door.http.get("/readyz")).status_code == 503
    assert (await door.http.get("/healthz")).status_code == 200
