"""What the store promises to people and scripts: Inbox, Access, Desk, Archive."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.domain.case import Approved, Proposed
from receiver.domain.run import RunResult
from receiver.errors import Refused
from receiver.identity import new_id
from receiver.ports import Event, Page, Post, Receipt, Token
from tests.fix_stores import BOTH, NOW, Stores, post

pytestmark = pytest.mark.anyio


async def cases(stores: Stores, *, limit: int = 50, cursor: str | None = None, **filters: str) -> Page:
    found: Page = await stores.archive.cases(limit=limit, cursor=cursor, filters=filters)
    return found


async def alerts(stores: Stores, **filters: str) -> list[tuple[str, str]]:
    found = await stores.archive.alerts(limit=50, cursor=None, filters=filters)
    return [(row["labels"]["alertname"], row["why"]) for row in found.items]


# --- Inbox


async def test_one_receipt_for_each_post_in_order(stores: Stores) -> None:
    posts = [post("A"), Post(source="prom", body=b"no json"), post("B"), post("A")]
    receipts = await stores.inbox.store(posts)
    assert [(one.alerts, one.unreadable) for one in receipts] == [(1, 0), (0, 1), (1, 0), (1, 0)]
    assert receipts[2].new == 1
    assert await stores.inbox.store([post("A")]) == [Receipt(alerts=1, new=0, unreadable=0)]
    assert await stores.inbox.store([]) == []


async def test_a_new_identity_opens_one_case_or_says_why_not(stores: Stores) -> None:
    await stores.inbox.store([post("A")])
    await stores.inbox.store([post("A"), post("A", starts_at=NOW + timedelta(seconds=9))])
    await stores.inbox.store([post("Gone", status="resolved"), post("Watchdog")])
    waiting = [("A", "open"), ("A", "open"), ("Gone", "resolved_first"), ("Watchdog", "benign")]
    assert sorted(await alerts(stores)) == waiting
    assert await alerts(stores, why="open") == waiting[:2]
    assert await stores.cases.open_stored() == 2
    assert await stores.cases.open_stored() == 0
    found = sorted(await alerts(stores))
    assert found == [("A", "duplicate"), ("A", "open"), ("Gone", "resolved_first"), ("Watchdog", "benign")]
    (case,) = (await cases(stores)).items
    assert (case["state"], case["alertname"], case["source"]) == ("received", "A", "prom")
    assert await stores.cases.claim(BOTH, "w") is not None


async def test_resolved_wakes_a_proposal_and_nothing_revives_it(
    stores: Stores, proposed: tuple[Proposed, Approved]
) -> None:
    await stores.inbox.store([post("A")])
    lease = await stores.claim()
    waiting = proposed[0].model_copy(update={"id": lease.case.id, "alert": lease.case.alert})
    await stores.save(waiting, lease)
    await stores.cases.put_off(await stores.claim(), at=None, after_seconds=3600, why="needs you")
    assert await stores.cases.claim(BOTH, "w") is None
    await stores.inbox.store([post("A", status="resolved"), post("A")])
    assert (await stores.claim()).case == waiting
    rows = await stores.archive.alerts(limit=5, cursor=None, filters={"status": "resolved"})
    assert [row["labels"]["alertname"] for row in rows.items] == ["A"]


# --- Access


async def test_a_token_is_known_by_its_secret_until_revoked(stores: Stores) -> None:
    token = Token(name="hook", scope="alerts:write", source="prom")
    secret = await stores.give(token)
    assert await stores.access.token(secret) == token
    for wrong in ("", "hook", secret + "x", secret.upper(), "\x00", "\ud800"):
        assert await stores.access.token(wrong) is None
    await stores.revoke("hook")
    assert await stores.access.token(secret) is None


async def test_a_link_lets_in_once_and_a_session_ends(stores: Stores) -> None:
    link = await stores.invite("anna")
    entered = await stores.access.enter(link)
    assert entered is not None and entered[1] == "anna"
    assert await stores.access.enter(link) is None
    assert await stores.access.enter("unknown") is None
    session = entered[0]
    assert await stores.access.person(session) == "anna"
    assert await stores.access.person(link) is None
    await stores.access.leave(session)
    await stores.access.leave(session)
    assert await stores.access.person(session) is None


# --- Desk


async def test_a_note_is_numbered_and_wakes_only_when_asked(stores: Stores) -> None:
    case = await stores.open()
    await stores.cases.put_off(await stores.claim(), at=None, after_seconds=3600, why="later")
    for number, wake in ((1, False), (2, True)):
        event = Event(kind="note", actor="user:anna", text=f"note {number}", data={"via": "session"})
        await stores.desk.note(case.id, event, wake=wake)
        assert (await stores.cases.claim(BOTH, "w") is not None) is wake
    events = await stores.archive.events(case.id, after=0)
    assert [(one["seq"], one["kind"]) for one in events] == [
        (1, "case.planned"), (2, "case.waiting"), (3, "note"), (4, "note"),
    ]  # fmt: skip
    assert (events[3]["actor"], events[3]["text"], events[3]["data"]) == ("user:anna", "note 2", {"via": "session"})
    assert [one["seq"] for one in await stores.archive.events(case.id, after=3)] == [4]


async def test_a_closed_case_is_not_woken(stores: Stores) -> None:
    await stores.open()
    closed = await stores.close()
    await stores.desk.note(closed, Event(kind="note", actor="user:anna"), wake=True)
    assert await stores.cases.claim(BOTH, "w") is None
    assert (await stores.archive.events(closed, after=0))[-1]["kind"] == "note"


async def test_only_a_live_run_is_asked_to_stop(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    assert await stores.desk.cancel(run, "user:anna") is False
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    assert await stores.runs.cancelled(attempt) is False
    assert await stores.desk.cancel(new_id(), "user:anna") is False
    assert await stores.desk.cancel(run, "user:anna") is True
    assert await stores.runs.cancelled(attempt) is True
    said = (await stores.archive.events(case.id, after=1))[-1]
    assert (said["kind"], said["actor"]) == ("run.cancel_asked", "user:anna")
    await stores.runs.finish(attempt, RunResult(status="cancelled", started_at=NOW, ended_at=NOW))
    assert await stores.desk.cancel(run, "user:anna") is False


async def test_adopting_gives_no_answer_and_may_be_said_again(stores: Stores) -> None:
    await stores.desk.adopt("a" * 40, old=None, digest="", actor="os:anna")
    await stores.desk.adopt("b" * 40, old="a" * 40, digest="d", actor="os:anna")


# --- Archive


async def test_lists_go_page_by_page_from_the_newest(stores: Stores) -> None:
    opened = [(await stores.open()).id for _ in range(3)]
    first = await cases(stores, limit=2)
    assert [row["id"] for row in first.items] == opened[:0:-1]
    assert first.next is not None
    rest = await cases(stores, limit=2, cursor=first.next)
    assert ([row["id"] for row in rest.items], rest.next) == (opened[:1], None)


async def test_filters_choose_and_unknown_ones_are_refused(stores: Stores) -> None:
    await stores.open()
    await stores.close()
    await stores.inbox.store([post("A")])
    await stores.cases.open_stored()
    for filters, count in (
        ({"state": "closed"}, 1), ({"outcome": "notified"}, 1), ({"alertname": "A"}, 1),
        ({"playbook": "web_restart"}, 1), ({"source": "prom"}, 1),
        ({"state": "closed", "alertname": "A"}, 0), ({"needs": "you"}, 0), ({}, 2),
    ):  # fmt: skip
        assert len((await cases(stores, **filters)).items) == count, filters
    assert await alerts(stores, alertname="A") == [("A", "open")]
    assert await alerts(stores, status="resolved") == []
    for filters in ({"colour": "red"}, {"needs": "me"}):
        with pytest.raises(Refused):
            await cases(stores, **filters)
    for listing in (stores.archive.cases, stores.archive.alerts):
        with pytest.raises(Refused):
            await listing(limit=5, cursor="nonsense", filters={})


async def test_a_case_has_one_shape(stores: Stores, proposed: tuple[Proposed, Approved]) -> None:
    case = await stores.open()
    given = proposed[0].model_copy(update={"id": case.id})
    await stores.save(given)
    found = await stores.archive.case(case.id)
    assert (found["id"], found["state"], found["outcome"]) == (case.id, "proposed", None)
    assert (found["proposal"]["number"], found["proposal"]["state"]) == (given.proposal.number, "open")
    assert [event["kind"] for event in found["events"]] == ["case.planned", "case.proposed"]
    assert set(found["timestamps"]) == {"opened_at", "updated_at", "closed_at", "due_at"}
    assert await stores.archive.stored(case.id) == given
    assert await stores.archive.case_of_proposal("local", given.proposal.number) == case.id
    assert [row["id"] for row in (await cases(stores, needs="you")).items] == [case.id]


async def test_a_run_shows_its_real_attempt(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    check = await stores.runs.begin(run, case.id, "check", "i")
    await stores.runs.finish(check, RunResult(status="successful", started_at=NOW, ended_at=NOW))
    assert (await stores.logs.run(run))["mode"] == "check"
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    found = await stores.logs.run(run)
    assert (found["id"], found["case"], found["mode"], found["status"]) == (run, case.id, "run", "running")
    await stores.runs.finish(attempt, RunResult(status="failed", why="no", started_at=NOW, ended_at=NOW))
    found = await stores.logs.run(run)
    assert (found["status"], found["why"]) == ("failed", "no")
    assert [(one["mode"], one["status"]) for one in found["attempts"]] == [("check", "successful"), ("run", "failed")]


@pytest.mark.parametrize("id", ["019ac0de-0000-7000-8000-000000000009", "nonsense", ""])
async def test_what_is_not_there_is_none(stores: Stores, id: str) -> None:
    assert await stores.archive.case(id) is None
    assert await stores.archive.stored(id) is None
    assert await stores.desk.cancel(id, "user:anna") is False
    assert await stores.logs.run(id) is None
    assert await stores.archive.events(id, after=-1) == []
    assert await stores.logs.run_log(id) == []
    assert await stores.archive.case_of_proposal("local", 999) is None
