"""Requests of the wrong shape: an answer in words, never a crash, and the lists stay readable whatever alerts say."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Role
from receiver.ports import Event
from tests.door import URL, Door
from tests.integration.web.test_people import proposed

pytestmark = pytest.mark.anyio


async def alert(door: Door, labels: dict[str, str]) -> None:
    body = {"alerts": [{"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}]}
    answer = await door.http.post("/alertmanager/prom", json=body, headers=await door.token("alerts:write"))
    assert answer.json()["new"] == 1


async def test_an_alert_without_a_name_is_shown(door: Door) -> None:
    await alert(door, {"items": "x", "keys": "y"})
    anna = await door.session("anna")
    for path in ("/", "/alerts"):
        assert (await anna.get(path)).status_code == 200, path
    await door.open_cases()
    (row,) = await door.rows("SELECT id::text FROM cases")
    assert (await anna.get(f"/cases/{row['id']}")).status_code == 200
    await anna.aclose()


async def test_what_could_not_be_read_is_shown(door: Door) -> None:
    await alert(door, {"alertname": "A"})
    await door.http.post("/alertmanager/prom", content=b"{", headers=await door.token("alerts:write"))
    anna = await door.session("anna")
    page = await anna.get("/alerts", params={"why": "unreadable"})
    assert page.status_code == 200 and "not JSON" in page.text
    await anna.aclose()


async def test_what_could_not_be_read_is_in_the_list_of_alerts(door: Door) -> None:
    for name in ("A", "B", "C"):
        await alert(door, {"alertname": name})
        await door.http.post("/alertmanager/prom", content=b"{", headers=await door.token("alerts:write"))
    reader = await door.token("read")
    seen: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await door.http.get("/api/alerts", params=params, headers=reader)).json()
        seen += [(item["why"], item["labels"].get("alertname", "")) for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [(why, name) for n in "CBA" for why, name in (("unreadable", ""), ("open", n))]
    one = (await door.http.get("/api/alerts", params={"alertname": "A"}, headers=reader)).json()
    assert [item["why"] for item in one["items"]] == ["open"]


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/api/cases", {"alertname": "\x00"}, 200),
        ("/api/alerts", {"alertname": "a\x00b"}, 200),
        ("/api/cases", {"limit": "²"}, 422),
        ("/api/cases", {"limit": "-1"}, 422),
        ("/api/cases", {"limit": "9" * 5000}, 422),
        ("/api/cases", {"cursor": "9" * 30}, 422),
        ("/api/alerts", {"cursor": "²"}, 422),
        ("/api/cases", {"needs": "me"}, 422),
        ("/api/cases/urn:uuid:019ac0de-0000-7000-8000-000000000002", {}, 404),
        ("/api/runs/019ac0de-0000-7000-8000-000000000002/log", {"after": "--5"}, 200),
        ("/api/runs/019ac0de-0000-7000-8000-000000000002/log", {"after": "²"}, 200),
        ("/api/runs/019ac0de-0000-7000-8000-000000000002/log", {"after": "9" * 5000}, 200),
        ("/api/nowhere", {}, 404),
    ],
)
async def test_odd_parameters_are_answered_in_words(door: Door, path: str, params: Any, status: int) -> None:
    answer = await door.http.get(path, params=params, headers=await door.token("read"))
    assert answer.status_code == status
    if status != 200:
        assert set(answer.json()) == {"error", "next_step", "reason"}


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"7", b"\xff", b'{"playbook": 7}', b'{"playbook": "web_restart", "params": []}',
     b'{"playbook": "web_restart", "params": {"host": "web1", "service": NaN}}',
     b'{"playbook": "web_restart", "params": {"host": "web1\\u0000"}}',
     b'{"playbook": "web_restart", "params": {"host": "web1\\ud800"}}',
     b"[" * 100_000],
)  # fmt: skip
async def test_odd_bodies_are_answered_in_words(door: Door, body: bytes) -> None:
    headers = {**await door.token("dispatch"), "Content-Type": "application/json"}
    answer = await door.http.post("/api/dispatch", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error", "next_step", "reason"}


@pytest.mark.parametrize("why", ["a\x00b", "\u202ea"], ids=["nul", "bidi"])
async def test_a_reason_is_stored_as_text(door: Door, why: str) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    assert (await anna.post(f"/cases/{case.id}/reject", data={"why": why})).status_code == 303
    events = (await anna.get(f"/api/cases/{case.id}/events")).json()["items"]
    assert events[-1]["kind"] == "proposal.rejected" and "\x00" not in events[-1]["text"]
    await anna.aclose()


async def test_a_reason_with_half_a_character(door: Door) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    body = b'{"why": "\\ud800", "reason": "\\u0000"}'
    headers = {"Content-Type": "application/json"}
    assert (await anna.post(f"/api/cases/{case.id}/reject", content=body, headers=headers)).status_code == 200
    await anna.aclose()


@pytest.mark.parametrize("origin", ["http://[", "http://127.0.0.1:8090@evil.example", "://", "x" * 10_000])
async def test_an_odd_origin_is_refused(door: Door, origin: str) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    answer = await anna.post(f"/cases/{case.id}/reject", data={"why": ""}, headers={"Origin": origin})
    assert answer.status_code == 403
    await anna.aclose()


async def test_a_body_for_a_small_form_is_bounded(door: Door) -> None:
    for path in ("/api/dispatch", "/logout", "/cases/x/approve"):
        answer = await door.http.post(path, content=b" " * (4 << 20), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413, path


async def test_a_bug_is_answered_with_the_headers_of_every_page(door: Door) -> None:
    async def broken(secret: str) -> str | None:
        raise RuntimeError("a bug with a secret in it")

    anna = await door.session("anna")
    object.__setattr__(door.office.store.access, "person", broken)
    transport = httpx.ASGITransport(app=door.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL, cookies=anna.cookies) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    await anna.aclose()


async def test_a_page_that_is_not_there_is_a_page(door: Door) -> None:
    anna = await door.session("anna")
    answer = await anna.get("/nowhere", headers={"Accept": "text/html"})
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")
    await anna.aclose()


async def test_forms_of_our_own_page_carry_their_origin(door: Door) -> None:
    # with `no-referrer` browsers send `Origin: null` from our own forms (seen in Chromium): nobody could approve
    assert (await door.http.get("/login")).headers["referrer-policy"] == "same-origin"


async def test_an_unnamed_caller_learns_nothing_of_the_database(door: Door) -> None:
    await door.office.store.pool.close()
    answer = await door.http.post("/alertmanager/prom", content=b"{}", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 503 and len(answer.text) < 200
    assert json.loads(answer.text)["error"]


async def test_a_closed_case_needs_no_stream(door: Door) -> None:
    await alert(door, {"alertname": "A"})
    store, headers = door.office.store, {**await door.token("read"), "Accept": "text/event-stream"}
    await door.open_cases()
    lease = await store.cases.claim((Role.PLAN,), "test")
    assert lease is not None
    closed = lease.case.end(Outcome.REFUSED, "no").become(Closed)
    await store.cases.save(lease, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    whole = await door.http.get(f"/api/cases/{closed.id}/events", headers=headers)
    assert whole.text.count("id: ") == 2
    again = await door.http.get(f"/api/cases/{closed.id}/events", headers={**headers, "Last-Event-ID": "2"})
    assert again.status_code == 204  # tells an EventSource not to come again


async def test_text_that_turns_the_line_around_is_spelled_out(door: Door) -> None:
    await alert(door, {"alertname": "A", "text": "a\u202eb\u200bc"})
    anna = await door.session("anna")
    page = (await anna.get("/alerts")).text
    assert "\u202e" not in page and "\u200b" not in page and "U+202E" in page
    await anna.aclose()
