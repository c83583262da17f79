"""The queue on a real PostgreSQL: inbox, leases, fences, slots, locks, runs."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.inbox import PostgresInbox
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.runs import PostgresRuns
from receiver.domain.case import Closed, Received
from receiver.domain.outcome import Outcome, Role
from receiver.domain.policyfile import Limits
from receiver.domain.proposal import Answer
from receiver.domain.run import RunEvent, RunResult
from receiver.errors import Conflict, Retry
from receiver.identity import new_id
from receiver.ports import Clearance, Event, Lease, Post, Receipt

NOW = datetime.now(UTC)
Pool = AsyncConnectionPool[Any]


def post(*names: str, status: str = "firing", starts_at: datetime = NOW, **more: Any) -> Post:
    alerts = [
        {
            "status": status,
            "labels": {"alertname": name, "severity": "warning"},
            "startsAt": starts_at.isoformat(),
        }
        | more
        for name in names
    ]
    return Post(source="prom", body=json.dumps({"alerts": alerts}).encode())


async def rows(pool: Pool, query: str) -> list[dict[str, Any]]:
    async with pool.connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(query)  # type: ignore[arg-type]
        return await cursor.fetchall()


async def opened(pool: Pool, *names: str) -> PostgresInbox:
    inbox = PostgresInbox(pool)
    await store(inbox, pool, *([post(*names)] if names else []))
    return inbox


async def store(inbox: PostgresInbox, pool: Pool, *posts: Post) -> list[Receipt]:
    """Stored, and their cases opened."""
    receipts = await inbox.store(posts)
    while await PostgresCases(pool).open_stored():
        pass
    return receipts


@pytest.mark.anyio
async def test_an_alert_opens_one_case_and_repeats_only_count(pool: Pool) -> None:
    inbox = await opened(pool, "A")
    for _ in range(3):
        (receipt,) = await inbox.store([post("A")])
        assert (receipt.alerts, receipt.new) == (1, 0)
    (alert,) = await rows(pool, "SELECT * FROM alerts")
    assert alert["times_seen"] == 4 and alert["case_id"] is not None and alert["why"] is None
    assert len(await rows(pool, "SELECT FROM cases")) == 1
    assert len(await rows(pool, "SELECT FROM deliveries")) == 4


@pytest.mark.anyio
async def test_a_new_start_of_an_open_case_is_a_duplicate_that_links_it(pool: Pool) -> None:
    inbox = await opened(pool, "A")
    await store(inbox, pool, post("A", starts_at=NOW + timedelta(seconds=9)))
    first, second = await rows(pool, "SELECT why, case_id FROM alerts ORDER BY starts_at")
    assert (first["why"], second["why"]) == (None, "duplicate")
    assert first["case_id"] == second["case_id"]


@pytest.mark.anyio
async def test_two_starts_in_one_post_open_one_case(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    one, two = post("A"), post("A", starts_at=NOW + timedelta(seconds=9))
    await store(inbox, pool, one, two)
    assert len(await rows(pool, "SELECT FROM cases")) == 1
    assert {row["why"] for row in await rows(pool, "SELECT why FROM alerts")} == {None, "duplicate"}


@pytest.mark.anyio
async def test_resolved_first_opens_nothing_and_a_stale_firing_revives_nothing(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    await inbox.store([post("A", status="resolved")])
    await inbox.store([post("A")])
    (alert,) = await rows(pool, "SELECT * FROM alerts")
    assert (alert["status"], alert["why"], alert["times_seen"]) == ("resolved", "resolved_first", 2)
    assert await rows(pool, "SELECT FROM cases") == []


@pytest.mark.anyio
async def test_what_fired_before_the_connection_is_a_row_only(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    await inbox.connect(["prom"])
    old, new = post("Old", starts_at=NOW - timedelta(hours=1)), post("New", starts_at=NOW + timedelta(hours=1))
    await store(inbox, pool, old, new)
    found = {row["labels"]["alertname"]: row["why"] for row in await rows(pool, "SELECT labels, why FROM alerts")}
    assert found == {"Old": "before_connection", "New": None}
    assert len(await rows(pool, "SELECT FROM cases")) == 1


@pytest.mark.anyio
async def test_resolved_wakes_the_waiting_case(pool: Pool) -> None:
    inbox = await opened(pool, "A")
    async with pool.connection() as connection:
        await connection.execute("UPDATE cases SET kind = 'proposed', due_at = now() + interval '1 hour'")
    await inbox.store([post("A", status="resolved")])
    (case,) = await rows(pool, "SELECT due_at <= now() AS due FROM cases")
    (alert,) = await rows(pool, "SELECT resolved_at FROM alerts")
    assert case["due"] and alert["resolved_at"] is not None


@pytest.mark.anyio
async def test_a_poison_that_only_the_database_sees_fails_no_neighbour(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    # year 9999 in a far zone: a Python time that PostgreSQL takes, and a fingerprint column that is not text
    poison = post("P")
    broken = Post(source="prom", body=poison.body.replace(b'"P"', b'"P"'))
    posts = [post(f"N{n}") for n in range(5)] + [broken]
    async with pool.connection() as connection:
        await connection.execute("ALTER TABLE alerts ADD CHECK (labels->>'alertname' <> 'P')")
    receipts = await inbox.store(posts)
    assert [receipt.alerts for receipt in receipts] == [1, 1, 1, 1, 1, 0]
    assert receipts[-1].unreadable == 1
    assert len(await rows(pool, "SELECT FROM alerts")) == 5
    (piece,) = await rows(pool, "SELECT reason FROM unreadable")
    assert "the database refused it" in piece["reason"]
    assert len(await rows(pool, "SELECT FROM deliveries")) == 6


@pytest.mark.anyio
async def test_ten_thousand_alerts_in_one_post(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    (receipt,) = await store(inbox, pool, post(*[f"A{n}" for n in range(10_000)]))
    assert (receipt.alerts, receipt.new) == (10_000, 10_000)
    assert (await rows(pool, "SELECT count(*) AS n FROM cases"))[0]["n"] == 10_000


async def leased(cases: PostgresCases) -> Lease:
    lease = await cases.claim([Role.PLAN], "w")
    assert lease is not None
    return lease


@pytest.mark.anyio
async def test_a_case_is_in_one_pair_of_hands(pool: Pool) -> None:
    await opened(pool, *[f"A{n}" for n in range(20)])
    cases = PostgresCases(pool)
    claimed = await asyncio.gather(*[cases.claim([Role.PLAN], f"w{n}") for n in range(30)])
    ids = [lease.case.id for lease in claimed if lease]
    assert len(ids) == len(set(ids)) == 20
    assert await cases.claim([Role.EXECUTE], "w") is None


@pytest.mark.anyio
async def test_a_lost_lease_cannot_write(pool: Pool) -> None:
    await opened(pool, "A")
    cases = PostgresCases(pool)
    old = await leased(cases)
    async with pool.connection() as connection:
        await connection.execute("UPDATE cases SET lease_until = now() - interval '1 second'")
    new = await leased(cases)
    assert new.revived and new.fence > old.fence
    ended = old.case.end(Outcome.STORM, "x")
    with pytest.raises(Conflict):
        await cases.save(old, ended, [Event(kind="case.ended", actor="system")], role=Role.PLAN)
    assert await cases.renew(old) is False and await cases.renew(new) is True
    assert await cases.put_off(old, at=None, after_seconds=9, why="x") is False
    await cases.save(new, ended, [Event(kind="case.ended", actor="system")], role=Role.PLAN)


@pytest.mark.anyio
async def test_a_lease_from_before_the_server_is_waited_for(pool: Pool) -> None:
    await opened(pool, "A")
    held = await leased(PostgresCases(pool))
    async with pool.connection() as connection:
        await connection.execute("UPDATE cases SET lease_until = pg_postmaster_start_time()")
    hours = PostgresCases(pool, lease_seconds=7200)
    assert await hours.claim([Role.PLAN], "w") is None, "whoever holds it has not had the time to say so"
    assert await hours.renew(held) is True


@pytest.mark.anyio
async def test_what_a_crash_cut_short_ends_at_the_latest_with_its_case(pool: Pool) -> None:
    await opened(pool, "A")
    case = (await leased(PostgresCases(pool))).case
    runs, run = PostgresRuns(pool), new_id()
    first, second = [await runs.begin(run, case.id, "check", "i") for _ in range(2)]
    begun = await rows(pool, "SELECT id::text, status, result->>'why' AS why FROM attempts ORDER BY begun_at")
    assert [(one["id"], one["status"]) for one in begun] == [(first, "interrupted"), (second, None)]
    assert "is done again" in begun[0]["why"]
    await PostgresLedger(pool).learn(case.end(Outcome.EXPIRED, "nobody came").become(Closed))
    _, result = await runs.attempt_of(run, "check") or ("", None)
    assert result is not None and result.status == "interrupted" and result.started_at <= result.ended_at


@pytest.mark.anyio
async def test_a_lease_is_as_long_as_it_was_made(pool: Pool) -> None:
    await opened(pool, "A")
    short = PostgresCases(pool, lease_seconds=1)
    lease = await leased(short)
    assert lease.seconds == 1 and await short.claim([Role.PLAN], "w") is None
    assert await PostgresCases(pool).renew(lease) is True, "whoever renews it knows its length"
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT lease_until <= now() + interval '1 second' FROM cases")
        assert await cursor.fetchone() == (True,)


@pytest.mark.anyio
async def test_events_are_numbered_per_case_and_append_only(pool: Pool) -> None:
    await opened(pool, "A")
    cases = PostgresCases(pool)
    lease = await leased(cases)
    assert await cases.put_off(lease, at=None, after_seconds=0, why="waits") is True
    assert await cases.put_off(await leased(cases), at=None, after_seconds=0, why="waits") is False
    lease = await leased(cases)
    ended = lease.case.end(Outcome.STORM, "many")
    await cases.save(lease, ended, [Event(kind="a", actor="system"), Event(kind="b", actor="system")], role=Role.PLAN)
    lease = await leased(cases)
    await cases.save(lease, ended.become(Closed), [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    events = await rows(pool, "SELECT seq, kind FROM case_events ORDER BY seq")
    assert [(e["seq"], e["kind"]) for e in events] == [
        (1, "case.received"), (2, "case.waiting"), (3, "a"), (4, "b"), (5, "case.closed"),
    ]  # fmt: skip
    (row,) = await rows(pool, "SELECT kind, is_open, outcome, due_at, closed_at FROM cases")
    assert (row["kind"], row["is_open"], row["outcome"], row["due_at"]) == ("closed", False, "storm", None)
    assert await cases.claim([Role.PLAN], "w") is None
    async with pool.connection() as connection:
        with pytest.raises(pg.RaiseException):
            await connection.execute("UPDATE case_events SET text = 'forged'")


@pytest.mark.anyio
async def test_the_most_severe_case_goes_first(pool: Pool) -> None:
    inbox = PostgresInbox(pool)
    await store(inbox, pool, post("Low"), post("High", labels={"alertname": "High", "severity": "critical"}))
    case = (await leased(PostgresCases(pool))).case
    assert isinstance(case, Received) and case.alert.name == "High"


async def case_ids(pool: Pool, count: int) -> list[str]:
    await opened(pool, *[f"S{n}" for n in range(count)])
    return [str(row["id"]) for row in await rows(pool, "SELECT id FROM cases ORDER BY number")]


@pytest.mark.anyio
async def test_slots_are_never_more_than_the_limit(pool: Pool) -> None:
    ids = await case_ids(pool, 12)
    ledger, limits = PostgresLedger(pool), Limits(open_proposals=3, proposals_per_hour=100)
    answers = await asyncio.gather(*[ledger.take_slot(case, limits) for case in ids])
    assert answers.count(None) == 3
    holder = ids[answers.index(None)]
    assert await ledger.take_slot(holder, limits) is None
    hourly = Limits(open_proposals=100, proposals_per_hour=3)
    assert "within an hour" in (await ledger.take_slot(ids[answers.index(answers[-1])], hourly) or "within an hour")


@pytest.mark.anyio
async def test_locks_are_all_or_none_and_name_their_holder(pool: Pool) -> None:
    locks, (case,) = PostgresLocks(pool), await case_ids(pool, 1)
    first, second = new_id(), new_id()
    assert await locks.take(first, case, ["host:b", "host:a"], "one in run 1") is None
    assert await locks.take(first, case, ["host:a"]) is None
    said = await locks.take(second, case, ["host:c", "host:b"], "two")
    assert said is not None and "host:b is held by one in run 1" in said
    assert {row["name"] for row in await locks.all()} == {"host:a", "host:b"}
    await locks.free(first)
    assert await locks.take(second, case, ["host:c", "host:b"]) is None
    assert await locks.hold("host:b", "disk is being changed") is False
    assert await locks.hold("host:z", "disk is being changed") is True and await locks.release("host:z") is True


@pytest.mark.anyio
async def test_locks_under_a_race(pool: Pool) -> None:
    locks, (case,) = PostgresLocks(pool), await case_ids(pool, 1)
    names = [["host:a", "host:b"], ["host:b", "host:a"], ["host:a"], ["host:b"]] * 4
    answers = await asyncio.gather(*[locks.take(new_id(), case, given) for given in names])
    held = await locks.all()
    assert len(held) == len({row["name"] for row in held}) <= 2
    assert 1 <= answers.count(None) <= 2


@pytest.mark.anyio
async def test_a_run_begins_once(pool: Pool) -> None:
    runs, (case,) = PostgresRuns(pool), await case_ids(pool, 1)
    run = new_id()
    answers = await asyncio.gather(*[runs.begin(run, case, "run", "i") for _ in range(8)], return_exceptions=True)
    assert sum(isinstance(answer, str) for answer in answers) == 1
    assert all(isinstance(answer, str | Conflict) for answer in answers)
    attempt = next(answer for answer in answers if isinstance(answer, str))
    assert await runs.attempt_of(run, "run") == (attempt, None)
    event = RunEvent(seq=0, at=NOW, kind="ok", text="x")
    await runs.record(attempt, [event])
    await runs.record(attempt, [event, event.model_copy(update={"seq": 1})])
    assert len(await rows(pool, "SELECT FROM run_events")) == 2
    result = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    await runs.finish(attempt, result)
    await runs.finish(attempt, result.model_copy(update={"status": "failed"}))
    found = await runs.attempt_of(run, "run")
    assert found is not None and found[1] == result
    assert await runs.cancelled(attempt) is True, "what somebody ended is stopped"
    with pytest.raises(Conflict, match="ended by somebody else"):
        await runs.record(attempt, [event.model_copy(update={"seq": 2})])


@pytest.mark.anyio
async def test_rehearsals_are_bounded(pool: Pool) -> None:
    runs, (case,) = PostgresRuns(pool), await case_ids(pool, 1)
    answers = await asyncio.gather(
        *[runs.begin(new_id(), case, "check", "i", most=2) for _ in range(6)], return_exceptions=True
    )
    assert sum(isinstance(answer, str) for answer in answers) == 2
    assert all(isinstance(answer, str | Retry) for answer in answers)


@pytest.mark.anyio
async def test_a_clearance_is_used_once_and_grows_old(pool: Pool) -> None:
    runs, (case,) = PostgresRuns(pool), await case_ids(pool, 1)
    run = new_id()
    assert await runs.ask_clearance(run, case) is None
    answer = Clearance(granted=True, answers=(Answer(name="x", passed=True, why="y"),))
    await runs.answer(run, answer)
    assert await runs.ask_clearance(run, case) == answer
    async with pool.connection() as connection:
        await connection.execute("UPDATE clearances SET answered_at = now() - interval '61 seconds'")
    assert await runs.ask_clearance(run, case) is None
    await runs.answer(run, answer)
    await runs.drop_clearance(run)
    assert await runs.ask_clearance(run, case) is None


@pytest.mark.anyio
async def test_an_instance_that_moved_or_fell_silent_starts_afresh(pool: Pool) -> None:
    ledger = PostgresLedger(pool)
    assert "no installation row" in (await ledger.paused() or "")
    await ledger.appear("one")
    since = await ledger.fresh_since()
    await ledger.appear("one")
    assert await ledger.fresh_since() == since
    await ledger.appear("two")
    moved = await ledger.fresh_since()
    assert moved > since
    async with pool.connection() as connection:
        await connection.execute("UPDATE instances SET alive_at = now() - interval '16 minutes'")
    await ledger.appear("two")
    assert await ledger.fresh_since() > moved
    assert await ledger.paused() is None
    await ledger.pause("holiday")
    assert await ledger.paused() == "paused: holiday"


@pytest.mark.anyio
@pytest.mark.parametrize(("outcome", "reason", "comes"), [
    (Outcome.SUPERSEDED, "undiverged", True), (Outcome.REJECTED, "closed", True),
    (Outcome.REJECTED, "turned_down", False), (Outcome.EXPIRED, "in_time", False),
])  # fmt: skip
async def test_what_was_not_decided_on_its_merits_comes_again(pool: Pool, outcome: Outcome, reason: str, comes: bool):
    await opened(pool, "Down")
    cases = PostgresCases(pool)
    lease = await cases.claim([Role.PLAN], "w")
    assert lease is not None
    closed = lease.case.end(outcome, "why", reason=reason).become(Closed)
    await cases.save(lease, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    while await cases.open_stored():
        pass
    again = await cases.claim([Role.PLAN], "w")
    assert (again is not None and again.case.kind == "received") is comes


@pytest.mark.anyio
async def test_what_has_resolved_meanwhile_does_not_come_again(pool: Pool):
    inbox = await opened(pool, "Down")
    await store(inbox, pool, post("Down", status="resolved"))
    cases = PostgresCases(pool)
    lease = await cases.claim([Role.PLAN], "w")
    assert lease is not None
    closed = lease.case.end(Outcome.SUPERSEDED, "why").become(Closed)
    await cases.save(lease, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    assert await cases.open_stored() == 0
