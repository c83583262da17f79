"""What the store promises to workers beyond a single claim: Cases, Ledger, Chronicle, Gate, Runs, Clearances, Locks."""

from __future__ import annotations

import asyncio

import pytest

from receiver.domain.alert import Alert
from receiver.domain.case import Approved, Closed, Proposed
from receiver.domain.entity import Entity
from receiver.domain.history import History, Past, Track
from receiver.domain.outcome import Outcome, Role
from receiver.domain.plan import Plan
from receiver.domain.policyfile import Limits
from receiver.domain.run import RunEvent
from receiver.errors import Conflict
from receiver.identity import new_id
from receiver.ports import Clearance
from tests.fix_stores import BOTH, NOW, Stores, post

pytestmark = pytest.mark.anyio


async def test_a_lost_lease_changes_nothing(stores: Stores) -> None:
    await stores.open()
    old = await stores.claim()
    assert await stores.cases.renew(old) is True
    await stores.pass_seconds(60)
    new = await stores.claim()
    assert new.revived and not old.revived and new.fence > old.fence
    assert await stores.cases.renew(old) is False
    assert await stores.cases.put_off(old, at=None, after_seconds=0, why="mine") is False
    with pytest.raises(Conflict):
        await stores.save(old.case.end(Outcome.REFUSED, "no"), old)
    assert (await stores.archive.stored(new.case.id)) == new.case
    await stores.save(new.case.end(Outcome.REFUSED, "no"), new)
    assert await stores.cases.renew(new) is False


async def test_a_renewed_lease_holds_longer(stores: Stores) -> None:
    await stores.open()
    lease = await stores.claim()
    await stores.pass_seconds(20)
    assert await stores.cases.renew(lease)
    await stores.pass_seconds(20)
    assert await stores.cases.claim(BOTH, "other") is None


async def test_the_most_severe_case_goes_first(stores: Stores) -> None:
    await stores.inbox.store([post("Low", severity="info"), post("Middle"), post("High", severity="critical")])
    names = [(await stores.claim()).case.alert.name for _ in range(3)]  # type: ignore[union-attr]
    assert names == ["High", "Middle", "Low"]


async def test_two_workers_never_hold_one_case(stores: Stores) -> None:
    for _ in range(4):
        await stores.open()
    claimed = await asyncio.gather(*[stores.cases.claim(BOTH, f"w{n}") for n in range(8)])
    ids = [lease.case.id for lease in claimed if lease]
    assert len(ids) == len(set(ids)) == 4


async def history(stores: Stores, name: str, case: str = "") -> History:
    rows = await stores.archive.alerts(limit=10, cursor=None, filters={"alertname": name})
    print_ = rows.items[0]["fingerprint"] if rows.items else "0" * 16
    alert = Alert(source="prom", fingerprint=print_, starts_at=NOW, status="firing", labels={"alertname": name})
    now = await stores.ledger.now()
    found: History = await stores.ledger.history(alert, None, Limits(), case or new_id(), now)
    assert found.now.tzinfo is not None
    return found


@pytest.mark.parametrize(("outcome", "acted"), [(Outcome.FIXED, True), (Outcome.COOLDOWN, False)])
async def test_only_a_case_that_acted_is_a_past(stores: Stores, outcome: Outcome, acted: bool) -> None:
    assert (await history(stores, "A")).last_acted_at is None
    await stores.inbox.store([post("A")])
    assert (await history(stores, "A")).last_acted_at is None
    closed = await stores.close(outcome)
    assert ((await history(stores, "A")).last_acted_at is not None) is acted
    assert (await history(stores, "A", closed)).last_acted_at is None
    assert (await history(stores, "B")).last_acted_at is None


@pytest.mark.parametrize(
    ("outcome", "past"),
    [
        (Outcome.NOT_FIXED, Past(failed={"web_restart": 1})),
        (Outcome.FAILED, Past(failed={"web_restart": 1})),
        (Outcome.FIXED, Past(fixed={"web_restart": 1})),
        (Outcome.REJECTED, Past(rejected={"web_restart": 1})),
        (Outcome.SELF_RESOLVED, Past(self_resolved=1)),
        (Outcome.NOTIFIED, Past()),
    ],
)
async def test_how_earlier_cases_ended_is_counted(stores: Stores, outcome: Outcome, past: Past) -> None:
    await stores.inbox.store([post("A")])
    lease = await stores.claim()
    assert lease.case.alert is not None
    alert, plan = lease.case.alert, Plan(action="playbook", playbook="web_restart", why="w")
    assert await stores.ledger.past(alert, None, new_id()) == Past()
    closed = lease.case.end(outcome, "because", plan=plan).become(Closed)
    await stores.save(closed, lease)
    assert await stores.ledger.past(alert, None, new_id()) == past
    assert await stores.ledger.past(alert, None, lease.case.id) == Past()
    entity = Entity(kind="host", name="web1", host="web1", site="home")
    assert await stores.ledger.past(alert, entity, new_id()) == Past()
    elsewhere = alert.model_copy(update={"source": "other"})
    assert await stores.ledger.past(elsewhere, None, new_id()) == Past()


@pytest.mark.parametrize(
    ("outcome", "track"),
    [
        (Outcome.FIXED, Track(fixed=1)), (Outcome.NO_DATA, Track(not_fixed=1)), (Outcome.REJECTED, Track(not_run=1)),
        (Outcome.REFUSED, Track()),
    ],
)  # fmt: skip
async def test_the_track_record_is_of_alert_and_playbook(stores: Stores, outcome: Outcome, track: Track) -> None:
    await stores.inbox.store([post("A")])
    lease = await stores.claim()
    plan = Plan(action="playbook", playbook="web_restart", why="w")
    assert await stores.ledger.track("A", "web_restart") == Track()
    closed = lease.case.end(outcome, "because", plan=plan).become(Closed)
    await stores.ledger.learn(closed)
    await stores.ledger.learn(closed)
    assert await stores.ledger.track("A", "web_restart") == track
    assert await stores.ledger.track("A", "web_stop") == await stores.ledger.track("B", "web_restart") == Track()


async def test_a_storm_is_counted_and_its_first_case_named(stores: Stores) -> None:
    assert ((await history(stores, "A")).storm_alerts, (await history(stores, "A")).storm_case) == (0, None)
    await stores.inbox.store([post("A"), post("B")])
    await stores.cases.open_stored()
    found = await history(stores, "A")
    (row,) = (await stores.archive.cases(limit=5, cursor=None, filters={"alertname": "A"})).items
    assert (found.storm_alerts, found.storm_case, found.fires_last_hour) == (1, row["id"], 1)


async def test_slots_of_an_hour_are_bounded(stores: Stores) -> None:
    first, second = await stores.open(), await stores.open()
    limits = Limits(open_proposals=5, proposals_per_hour=1)
    assert await stores.ledger.take_slot(first.id, limits) is None
    said = await stores.ledger.take_slot(second.id, limits)
    assert said is not None and "within an hour" in said


async def test_nothing_starts_while_paused(stores: Stores) -> None:
    assert await stores.ledger.paused() is None
    await stores.pause("holiday")
    assert "holiday" in (await stores.ledger.paused() or "")
    await stores.pause(None)
    assert await stores.ledger.paused() is None
    assert await stores.ledger.fresh_since() <= await stores.ledger.now()


async def test_events_of_a_run_are_kept_once_and_in_order(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    first, second = (RunEvent(seq=n, at=NOW, kind="ok", text=f"line {n}") for n in (0, 1))
    await stores.runs.record(attempt, [])
    await stores.runs.record(attempt, [first])
    await stores.runs.record(attempt, [first.model_copy(update={"text": "forged"}), second])
    log = await stores.logs.run_log(run)
    assert [(one["seq"], one["text"]) for one in log] == [(0, "line 0"), (1, "line 1")]
    assert [one["seq"] for one in await stores.logs.run_log(run, after=0)] == [1]
    assert [one["seq"] for one in await stores.logs.run_log(run, limit=1)] == [0]


async def test_who_waits_for_a_clearance_is_listed_until_answered(
    stores: Stores, proposed: tuple[Proposed, Approved]
) -> None:
    case, run = await stores.open(), proposed[1].runfile.run
    assert await stores.runs.wanted() == []
    assert await stores.runs.ask_clearance(run, case.id) is None
    assert await stores.runs.wanted() == []  # not approved: nobody may clear it
    approved = proposed[1].model_copy(update={"id": case.id})
    await stores.save(approved, role=Role.EXECUTE)
    assert await stores.runs.wanted() == [approved]
    answer = Clearance(granted=False, answers=())
    await stores.runs.answer(run, answer)
    assert await stores.runs.wanted() == []
    assert await stores.runs.ask_clearance(run, case.id) == answer
    await stores.runs.drop_clearance(run)
    assert await stores.runs.ask_clearance(run, case.id) is None


async def test_a_clearance_is_given_once_per_asking_and_grows_old(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    yes, no = (Clearance(granted=granted, answers=()) for granted in (True, False))
    await stores.runs.answer(run, yes)  # nobody asked
    assert await stores.runs.ask_clearance(run, case.id) is None
    await stores.runs.answer(run, no)
    await stores.runs.answer(run, yes)
    await stores.pass_seconds(50)
    assert await stores.runs.ask_clearance(run, case.id) == no
    await stores.pass_seconds(20)
    assert await stores.runs.ask_clearance(run, case.id) is None
    await stores.runs.answer(run, yes)
    assert await stores.runs.ask_clearance(run, case.id) == yes


async def test_a_lock_says_who_holds_it(stores: Stores) -> None:
    case, first, second = await stores.open(), new_id(), new_id()
    assert await stores.locks.take(first, case.id, ["host:a", "host:a"]) is None
    said = await stores.locks.take(second, case.id, ["host:b", "host:a"])
    assert said is not None and "host:a is held by" in said and first in said
    await stores.locks.free(second)
    assert await stores.locks.take(second, case.id, ["host:a"]) is not None
    await stores.locks.free(first)
    assert await stores.locks.take(second, case.id, ["host:a"]) is None


async def test_whoever_waits_longest_goes_first(stores: Stores, proposed: tuple[Proposed, Approved]) -> None:
    for _ in range(3):
        await stores.open()
    cases = []
    for lease in [await stores.claim() for _ in range(3)]:
        runfile = proposed[1].runfile.model_copy(update={"run": new_id()})
        cases.append(proposed[1].model_copy(update={"id": lease.case.id, "runfile": runfile}))
        await stores.save(cases[-1], lease, role=Role.EXECUTE)
    (first, second, third), holder = [(one.runfile.run, one.id) for one in cases], new_id()
    assert await stores.locks.take(holder, first[1], ["host:a"]) is None
    assert await stores.locks.take(*first, ["host:a", "host:b"], "one") is not None
    said = await stores.locks.take(*second, ["host:b"], "two")
    assert said is not None and "one of case" in said and "waits for host:b longer" in said
    assert await stores.locks.take(*third, ["host:c"]) is None  # wants nothing that anybody waits for
    await stores.locks.free(holder)
    assert await stores.locks.take(*second, ["host:b"]) is not None
    assert await stores.locks.take(*first, ["host:a", "host:b"]) is None
    await stores.locks.free(first[0])
    assert await stores.locks.take(*second, ["host:b"]) is None


async def test_the_place_of_an_ended_case_is_nobodys(stores: Stores, proposed: tuple[Proposed, Approved]) -> None:
    case, other = await stores.open(), new_id()
    approved = proposed[1].model_copy(update={"id": case.id})
    await stores.save(approved, role=Role.EXECUTE)
    assert await stores.locks.take(other, case.id, ["host:a"]) is None
    assert await stores.locks.take(approved.runfile.run, case.id, ["host:a", "host:b"]) is not None
    assert await stores.locks.take(new_id(), case.id, ["host:b"]) is not None
    await stores.save(approved.end(Outcome.CANCELLED, "over").become(Closed))
    assert await stores.locks.take(new_id(), case.id, ["host:b"]) is None
