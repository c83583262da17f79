"""Pages and decisions: who may, from where, and what a page never lets through."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from receiver.adapters.repo.creation import clone_work_tree
from receiver.adapters.store.access import PostgresAccess
from receiver.domain.run import RunEvent
from tests.door import HOSTILE, URL, Door, proposed, serving
from tests.fix_repo import Person


@pytest.mark.anyio
async def test_a_link_is_good_once(door: Door) -> None:
    link = await door.office.store.access.create_setup_link("anna")
    first = await door.http.get("/setup", params={"t": link})
    assert first.status_code == 303 and "HttpOnly" in first.headers["set-cookie"]
    assert "samesite=lax" in first.headers["set-cookie"].lower()
    door.http.cookies.clear()
    again = await door.http.get("/setup", params={"t": link})
    assert again.status_code == 403 and "set-cookie" not in again.headers
    assert (await door.http.get("/setup", params={"t": "nonsense"})).status_code == 403


@pytest.mark.anyio
async def test_without_a_session_there_is_only_the_way_in(door: Door) -> None:
    for path in ("/", "/alerts", "/cases/019ac0de-0000-7000-8000-000000000002", "/proposals/1"):
        answer = await door.http.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "gitmedic link" in (await door.http.get("/login")).text
    assert (await door.http.get("/api/cases")).status_code == 401


@pytest.mark.anyio
async def test_a_person_approves_what_was_looked_at(door: Door) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    page = (await anna.get(f"/cases/{case.id}")).text
    assert "Approve and run on web1" in page and case.proposal.head_sha in page
    assert "<script>" not in page and "&lt;script&gt;" in page and "{{ 7*7 }}" in page
    assert "http-equiv" not in page  # a page with a form does not reload under the reader
    old = await anna.post(f"/api/cases/{case.id}/approve", json={"head_sha": "f" * 40})
    assert old.status_code == 409
    answer = await anna.post(f"/cases/{case.id}/approve", data={"head_sha": case.proposal.head_sha})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{case.id}")
    pull = await door.office.forge.read(case.proposal.number)
    assert pull.state == "merged" and [review.by.login for review in pull.reviews] == ["anna"]
    events = (await anna.get(f"/api/cases/{case.id}/events")).json()["items"]
    assert [event["actor"] for event in events if event["kind"] == "proposal.approved"] == ["user:anna"]
    (row,) = await door.rows("SELECT due_at <= now() AS due FROM cases")
    assert row["due"]
    await anna.aclose()


@pytest.mark.anyio
async def test_two_approvals_at_once_are_one_merge(door: Door) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    body = {"head_sha": case.proposal.head_sha}
    answers = await asyncio.gather(*[anna.post(f"/api/cases/{case.id}/approve", json=body) for _ in range(5)])
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(await door.rows("SELECT FROM pull_requests WHERE state = 'merged'")) == 1
    await anna.aclose()


@pytest.mark.anyio
async def test_who_may_not_approve(door: Door) -> None:
    case = await proposed(door)
    body = {"head_sha": case.proposal.head_sha}
    path = f"/api/cases/{case.id}/approve"
    for scope in ("read", "dispatch", "admin", "alerts:write"):
        answer = await door.http.post(path, json=body, headers={**await door.token(scope), "Origin": URL})
        assert (answer.status_code, answer.json()["reason"]) == (403, "needs_person")
    guest = await door.session("guest")
    assert (await guest.post(path, json=body)).json()["reason"] == "not_entitled"
    assert "You may look, but not approve" in (await guest.get(f"/cases/{case.id}")).text
    stranger = await door.session("stranger")
    assert (await stranger.post(path, json=body)).status_code == 401
    assert (await door.http.post(path, json=body, headers={"Origin": URL})).status_code == 401
    assert (await door.office.forge.read(case.proposal.number)).state == "open"
    await guest.aclose()
    await stranger.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": URL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
async def test_a_foreign_page_decides_nothing(door: Door, headers: dict[str, str]) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    body = {"head_sha": case.proposal.head_sha}
    for path in (f"/cases/{case.id}/approve", f"/cases/{case.id}/reject"):
        assert (await anna.post(path, data=body, headers=headers)).status_code == 403
        assert (await anna.post(f"/api{path}", json=body, headers=headers)).status_code == 403
    assert (await door.office.forge.read(case.proposal.number)).state == "open"
    await anna.aclose()


@pytest.mark.anyio
async def test_a_foreign_host_name_is_refused(door: Door) -> None:
    anna = await door.session("anna")
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "localhost.evil"):
        answer = await anna.get("/", headers={"Host": host})
        assert answer.status_code == 421 and "web.hosts" in answer.json()["error"]
    assert (await anna.get("/", headers={"Host": "localhost:8090"})).status_code == 200
    await anna.aclose()


@pytest.mark.anyio
async def test_every_answer_carries_the_policy(door: Door) -> None:
    anna = await door.session("anna")
    for path in ("/", "/alerts", "/login", "/nowhere", "/static/style.css", "/api/info", "/cases/x"):
        headers = (await anna.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
    await anna.aclose()


@pytest.mark.anyio
async def test_hostile_log_text_is_only_text(door: Door) -> None:
    case = await proposed(door)
    attempt = await door.office.store.runs.begin(case.runfile.run, case.id, "check", "test")
    event = RunEvent(seq=0, at=datetime.now(UTC), kind="ok", host=HOSTILE, task=HOSTILE, text=HOSTILE)
    await door.office.store.runs.record(attempt, [event])
    anna = await door.session("anna")
    page = (await anna.get(f"/cases/{case.id}")).text
    assert "<script>" not in page and "<img src=x" not in page
    log = await anna.get(f"/api/runs/{case.runfile.run}/log", params={"format": "text"})
    assert log.headers["content-disposition"].startswith("attachment")
    assert log.headers["content-type"].startswith("text/plain")
    await anna.aclose()


@pytest.mark.anyio
async def test_reject_and_then_it_is_too_late(door: Door) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    assert (await anna.post(f"/cases/{case.id}/reject", data={"why": "not now"})).status_code == 303
    pull = await door.office.forge.read(case.proposal.number)
    assert (pull.state, str(pull.closed_by)) == ("closed", "anna")
    late = await anna.post(f"/api/cases/{case.id}/approve", json={"head_sha": case.proposal.head_sha})
    assert late.status_code == 409
    await anna.aclose()


@pytest.mark.anyio
async def test_dispatch_by_whom(door: Door) -> None:
    body: dict[str, Any] = {"playbook": "web_restart", "params": {"host": "web1", "service": "web"}}
    answer = await door.http.post("/api/dispatch", json=body, headers=await door.token("dispatch"))
    assert answer.status_code == 202
    reader = await door.token("read")
    case = (await door.http.get(f"/api/cases/{answer.json()['case']}", headers=reader)).json()
    assert case["state"] == "planned" and case["requested_by"].startswith("token:")
    assert (await door.http.post("/api/dispatch", json=body, headers=reader)).status_code == 403
    wrong = {**body, "params": {"host": "-x"}}
    assert (await door.http.post("/api/dispatch", json=wrong, headers=await door.token("dispatch"))).status_code == 422
    nothing = {**body, "playbook": "no_such"}
    refused = await door.http.post("/api/dispatch", json=nothing, headers=await door.token("dispatch"))
    assert refused.status_code == 404 and refused.json()["next_step"]


@pytest.mark.anyio
async def test_lists_have_pages_and_known_filters(door: Door) -> None:
    headers = await door.token("alerts:write")
    alerts = [
        {"status": "firing", "labels": {"alertname": f"A{n}"}, "startsAt": "2026-11-26T00:00:00Z"} for n in range(7)
    ]
    await door.http.post("/alertmanager/prom", json={"alerts": alerts}, headers=headers)
    await door.open_cases()
    reader = await door.token("read")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await door.http.get("/api/cases", params=params, headers=reader)).json()
        seen += [item["alertname"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == [f"A{n}" for n in range(7)]
    one = await door.http.get("/api/cases", params={"alertname": "A3"}, headers=reader)
    assert len(one.json()["items"]) == 1
    bad = await door.http.get("/api/cases", params={"colour": "red"}, headers=reader)
    assert bad.status_code == 422 and "alertname" in bad.json()["next_step"]
    for params in ({"cursor": "x"}, {"limit": "many"}):
        assert (await door.http.get("/api/cases", params=params, headers=reader)).status_code == 422
    assert (await door.http.get("/api/cases/not-an-id", headers=reader)).status_code == 404
    assert (await door.http.get("/api/info", headers=reader)).json()["sources"] == ["prom", "other"]
    assert (await door.http.get("/api/catalog", headers=reader)).json()["items"][0]["id"] == "web_restart"


@pytest.mark.anyio
async def test_who_left_the_policy_reads_nothing_more(door: Door, tmp_path: Path) -> None:
    anna, guest = await door.session("anna"), await door.session("guest")
    assert (await guest.get("/")).status_code == 200
    await adopt_without_guest(door, tmp_path)
    for path in ("/", "/alerts", "/cases/019ac0de-0000-7000-8000-000000000002", "/proposals/1"):
        answer = await guest.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert (await guest.get("/api/cases")).status_code == 401
    assert (await anna.get("/")).status_code == 200
    await anna.aclose()
    await guest.aclose()


async def adopt_without_guest(door: Door, tmp_path: Path) -> None:
    clone_work_tree(tmp_path / "data" / "ops.git", tmp_path / "work")
    person = Person(tmp_path / "work")
    policy = yaml.safe_load((person.folder / "policy.yml").read_text())
    policy["people"] = [one for one in policy["people"] if one["name"] != "guest"]
    person.write("policy.yml", json.dumps(policy).encode())
    person.commit("Guest leaves")
    old = await door.office.repo.adopted()
    await door.office.store.desk.adopt(person.push_main(), old=old, digest="", actor="os:test")


@pytest.mark.anyio
async def test_a_long_log_shows_how_it_ended(door: Door) -> None:
    case = await proposed(door)
    async with door.office.store.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO attempts (id, run, case_id, mode, instance) VALUES (%s, %s, %s, 'run', 'test')",
            (case.runfile.run, case.runfile.run, case.id),
        )
        await connection.execute(
            "INSERT INTO run_events (attempt_id, seq, at, kind, text)"
            " SELECT %s, n, now(), 'ok', 'word ' || n FROM generate_series(1, 10300) AS n",
            (case.runfile.run,),
        )
    anna = await door.session("anna")
    text = (await anna.get(f"/cases/{case.id}")).text
    assert 'id="L10300"' in text and 'id="L9801"' in text and 'id="L9800"' not in text
    assert "The last 500 lines" in text
    whole = (await anna.get(f"/runs/{case.runfile.run}")).text
    assert 'id="L2000"' in whole and 'id="L2001"' not in whole and "?after=2000" in whole
    assert 'id="L2600"' in (await anna.get(f"/runs/{case.runfile.run}?after=2000")).text
    download = await anna.get(f"/api/runs/{case.runfile.run}/log", params={"format": "text"})
    assert download.text.count("\n") == 10300 and download.text.endswith("word 10300\n")
    await anna.aclose()


@pytest.mark.anyio
async def test_who_may_only_look_makes_no_token(door: Door) -> None:
    made: list[str] = []

    async def new_token(name: str, actor: str) -> str:
        made.append(actor)
        return "gm_secret"

    async with serving(door, new_token=new_token) as (url, _, _):
        for person, status in (("guest", 403), ("anna", 200)):
            browser = await door.session(person)
            async with httpx.AsyncClient(base_url=url, cookies=browser.cookies, headers={"Origin": url}) as http:
                answer = await http.post("/start/token")
                assert (answer.status_code, "gm_secret" in answer.text) == (status, status == 200)
            await browser.aclose()
    assert made == ["user:anna"]


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_asks_for_its_session_once(door: Door, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    asked: list[str] = []
    real = PostgresAccess.person

    async def counted(self: PostgresAccess, secret: str) -> str | None:
        asked.append(secret)
        return await real(self, secret)

    monkeypatch.setattr(PostgresAccess, "person", counted)
    paths = {
        "GET": ["/", "/alerts", f"/cases/{case.id}", "/catalog", "/catalog/web_restart", "/hosts", "/settings",
                "/start", "/docs", f"/runs/{case.runfile.run}", "/cases/nowhere"],
        "POST": ["/start/inventory", "/catalog/web_restart"],
    }  # fmt: skip
    for path in paths[method]:
        asked.clear()
        answer = await anna.request(method, path)
        assert "anna" in answer.text and len(asked) == 1, (path, answer.status_code, len(asked))
    await anna.aclose()
