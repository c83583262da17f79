"""Alerts that nobody should send, through the front door: each is kept, answered, and harms no neighbour."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.door import Door

pytestmark = pytest.mark.anyio
STARTS = "2026-11-26T00:00:00Z"


def firing(name: str, **more: Any) -> dict[str, Any]:
    return {"status": "firing", "labels": {"alertname": name}, "startsAt": STARTS, **more}


async def post(door: Door, alerts: list[Any]) -> dict[str, int]:
    """Answered 200, always; gives the receipt."""
    body = json.dumps({"alerts": alerts}).encode()
    answer = await door.http.post("/alertmanager/prom", content=body, headers=await door.token("alerts:write"))
    assert answer.status_code == 200
    receipt: dict[str, int] = answer.json()
    return receipt


async def test_ten_thousand_alerts_in_one_post(door: Door) -> None:
    alerts = [firing(f"A{number}", annotations={"text": "x" * 750}) for number in range(10_000)]
    assert len(json.dumps({"alerts": alerts})) > 8 << 20
    assert await post(door, alerts) == {"alerts": 10_000, "new": 10_000, "unreadable": 0}
    await door.open_cases()
    (count,) = await door.rows("SELECT (SELECT count(*) FROM alerts) AS alerts, (SELECT count(*) FROM cases) AS cases")
    assert count == {"alerts": 10_000, "cases": 10_000}


@pytest.mark.parametrize(
    "odd",
    [
        firing("Odd", startsAt="99999-01-01T00:00:00Z"),
        firing("Odd", startsAt="yesterday"),
        firing("Odd", startsAt="0001-01-01T00:00:00Z"),
        firing("Odd", startsAt=10**400),
        firing("Odd", status="maybe"),
        firing("Odd", labels={"alertname": 7}),
        firing("Odd", labels={}),
        firing("Odd", labels={"alertname": "x" * 5000}),
        "an alert",
        None,
        [[[]]],
    ],
    ids=lambda odd: json.dumps(odd)[:60],
)
async def test_an_odd_alert_is_a_row_and_its_neighbour_is_stored(door: Door, odd: Any) -> None:
    assert await post(door, [odd, firing("Good")]) == {"alerts": 1, "new": 1, "unreadable": 1}
    assert [row["position"] for row in await door.rows("SELECT position FROM unreadable")] == [0]
    await door.open_cases()
    assert len(await door.rows("SELECT FROM cases")) == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a?b"),
        ("{{ lookup('pipe', 'id') }}", "{{ lookup('pipe', 'id') }}"),
        ("$(reboot); `reboot` && reboot", "$(reboot); `reboot` && reboot"),
        ("\u202egnp.exe", "\u202egnp.exe"),
        ("../../../etc/passwd\n\r\t", "../../../etc/passwd\n\r\t"),
        ("x" * 4096, "x" * 4096),
    ],
    ids=["nul", "surrogate", "jinja", "shell", "bidi", "path", "4 kB"],
)
async def test_text_is_only_text(door: Door, sent: str, stored: str) -> None:
    await post(door, [firing("Odd", labels={"alertname": "Odd", "text": sent}, annotations={"text": sent})])
    (row,) = await door.rows("SELECT labels, annotations FROM alerts")
    assert row["labels"]["text"] == stored and row["annotations"]["text"] == stored


async def test_the_same_alert_twice_in_one_post(door: Door) -> None:
    receipt = await post(door, [firing("Twice"), firing("Twice"), firing("Twice", status="resolved")])
    assert receipt["alerts"] == 1
    (row,) = await door.rows("SELECT status FROM alerts")
    assert row["status"] == "resolved"


async def test_what_fired_before_its_source_was_connected_is_a_row_only(door: Door) -> None:
    await door.office.store.inbox.connect(["prom"])
    old = datetime.now(UTC) - timedelta(hours=1)
    new = datetime.now(UTC) + timedelta(seconds=1)
    await post(door, [firing("Old", startsAt=old.isoformat()), firing("New", startsAt=new.isoformat())])
    rows = await door.rows("SELECT labels ->> 'alertname' AS name, why FROM alerts ORDER BY 1")
    assert rows == [{"name": "New", "why": None}, {"name": "Old", "why": "before_connection"}]
    await door.open_cases()
    assert len(await door.rows("SELECT FROM cases")) == 1


async def test_deep_nesting_is_kept(door: Door) -> None:
    headers = await door.token("alerts:write")
    for depth in (10, *range(800, 1000, 8), 100_000):
        nested = "[" * depth + "]" * depth
        for key in ("status", "startsAt", "labels"):
            odd = json.dumps(firing("Odd")).replace("{", f'{{"{key}": {nested}, "{key}x": 0, ', 1)
            odd = odd.replace('"status": "firing"', '"s": 0') if key == "status" else odd
            body = f'{{"alerts": [{odd}]}}'.encode()
            answer = await door.http.post("/alertmanager/prom", content=body, headers=headers)
            assert answer.status_code == 200, (key, depth, answer.text)
