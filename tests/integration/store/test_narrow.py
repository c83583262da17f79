"""Database roles, with real roles on a real PostgreSQL: what each may not do is refused by the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
import structlog.testing
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store import narrow
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.inbox import PostgresInbox
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.migrate import check_schema
from receiver.adapters.store.notebook import PostgresNotebook
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.runs import PostgresRuns
from receiver.adapters.store.seats import Seats, Who
from receiver.adapters.store.sites import PostgresSites
from receiver.adapters.store.vectors import Vectors
from receiver.domain.case import Approved, Closed, Ended, Executed, Proposed
from receiver.domain.outcome import Outcome, Role
from receiver.domain.run import RunEvent, RunResult
from receiver.errors import Broken
from receiver.ports import Clearance, Event, Lease
from receiver.testing.memory import FakeEmbedder
from tests.fix_stores import NOW, post, proposed

__all__ = ["proposed"]
pytestmark = pytest.mark.anyio
Pool = AsyncConnectionPool[Any]
RECEIVER, PLANNER, EXECUTOR = narrow.NAMES
PASSWORD = "for-tests-only"


@pytest.fixture
async def pools(database: str) -> AsyncIterator[dict[str, Pool]]:
    """A pool for each role, and one for the owner."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await narrow.create(connection)
        assert await narrow.create(connection) == {}, "again: the rights anew, and no new password"
        for name in narrow.NAMES:
            await connection.execute(f"ALTER ROLE {name} PASSWORD '{PASSWORD}'")  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        found = {"owner": await stack.enter_async_context(open_pool(database, most=2))}
        for name in narrow.NAMES:
            dsn = make_conninfo(database, user=name, password=PASSWORD)
            found[name] = await stack.enter_async_context(open_pool(dsn, most=2))
        yield found


async def to_approved(pools: dict[str, Pool], approved: Approved) -> Approved:
    """A stored alert's case, as far as the planner takes it."""
    await PostgresInbox(pools[RECEIVER]).store([post("WebDown")])
    planner = PostgresCases(pools[PLANNER])
    await planner.open_stored()
    lease = await planner.claim((Role.PLAN,), "p")
    assert lease is not None
    case = approved.model_copy(update={"id": lease.case.id, "alert": lease.case.alert})
    await planner.save(lease, case, [Event(kind="case.approved", actor="system")], role=Role.EXECUTE)
    return case


async def test_a_case_walks_under_three_roles(pools: dict[str, Pool], proposed: tuple[Proposed, Approved]) -> None:
    executor, planner = pools[EXECUTOR], pools[PLANNER]
    await check_schema(executor)
    for name in (RECEIVER, PLANNER, EXECUTOR):
        await PostgresLedger(pools[name]).appear("i")
    seat = await Seats(executor).take(Who(name="e", roles="execute"))
    await seat.beat({})
    await (await Seats(planner).take(Who(name="p", roles="plan"))).beat({})
    case = await to_approved(pools, proposed[1])
    assert await PostgresSites(planner).look(["home"]) == []
    cases, run = PostgresCases(executor), case.runfile.run
    lease = await cases.claim((Role.EXECUTE,), "e", seat=seat.fence)
    assert lease is not None
    locks, runs = PostgresLocks(executor).under(lease), PostgresRuns(executor).under(lease)
    assert await locks.take(run, case.id, ["host:web1"]) is None
    assert await runs.ask_clearance(run, case.id) is None
    await PostgresRuns(planner).answer(run, Clearance(granted=True, answers=()))
    assert (await runs.ask_clearance(run, case.id) or Clearance(granted=False, answers=())).granted
    await runs.drop_clearance(run)
    attempt = await runs.begin(run, case.id, "run", "i")
    assert await runs.cancelled(attempt) is False
    assert await PostgresDesk(pools[RECEIVER]).cancel(run, "user:anna")
    assert await runs.cancelled(attempt) is True
    await runs.record(attempt, [RunEvent(seq=0, at=NOW, kind="ok", text="x")])
    result = RunResult(status="failed", why="w", started_at=NOW, ended_at=NOW)
    await runs.finish(attempt, result)
    ended = lease.case.end(Outcome.FAILED, "failed", result=result)
    await cases.save(lease, ended, [Event(kind="case.ended", actor="system")], role=Role.PLAN)
    await locks.free(run)
    await seat.leave()
    lease = await PostgresCases(planner).claim((Role.PLAN,), "p")
    assert lease is not None and isinstance(lease.case, Ended)
    closed = lease.case.become(Closed)
    await PostgresLedger(planner).learn(closed)
    await PostgresCases(planner).save(lease, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)


BEGIN_A_RUN = (
    "INSERT INTO attempts (id, run, case_id, mode, instance) SELECT gen_random_uuid(), run, id, 'run', 'i' FROM cases"
)
FORBIDDEN = {
    RECEIVER: [
        "INSERT INTO run_events (attempt_id, seq, at, kind) VALUES (gen_random_uuid(), 0, now(), 'ok')",
        BEGIN_A_RUN,
        "UPDATE attempts SET ended_at = now(), status = 'successful'",
        "UPDATE cases SET body = body || '{\"kind\": \"approved\"}', kind = 'approved'",
        "UPDATE cases SET role = 'execute'",
        "INSERT INTO cases (id, kind, body, role, due_at) SELECT gen_random_uuid(), kind, body, role, now() FROM cases",
        "UPDATE clearances SET answered_at = now(), body = '{}'",
        "DELETE FROM clearances",
        "UPDATE proposal_slots SET freed_at = now()",
        "DELETE FROM case_events",
        "UPDATE adoptions SET commit = 'x'",
        "UPDATE installation SET id = 'x'",
        "UPDATE instances SET since = since - interval '1 day'",
        "UPDATE workers SET fence = 0",
        "UPDATE schema_migrations SET sha256 = ''",
        "INSERT INTO cases (id, kind, body, role) SELECT gen_random_uuid(), 'planned', body, 'plan' FROM cases",
        "INSERT INTO cases (id, kind, body, role) VALUES (gen_random_uuid(), 'planned', '{\"kind\": \"planned\"}', "
        "'execute')",
        "INSERT INTO cases (id, kind, body, role, outcome) VALUES (gen_random_uuid(), 'planned', "
        "'{\"kind\": \"planned\"}', 'plan', 'fixed')",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
    ],
    PLANNER: [
        "SELECT sha256 FROM tokens",
        "SELECT sha256 FROM sessions",
        "INSERT INTO sessions (sha256, person, expires_at) VALUES ('x', 'anna', now())",
        "INSERT INTO tokens (name, scope, sha256, created_by) VALUES ('x', 'admin', 'x', 'x')",
        "INSERT INTO reviews (number, person, via, head_sha, verdict) VALUES (1, 'anna', 'session', 'x', 'approve')",
        "INSERT INTO desk_reviews (repository, number, person, via, head_sha, verdict) "
        "VALUES ('r', 1, 'anna', 'session', 'x', 'approve')",
        "INSERT INTO revision_words (old, new, digest, person, via) VALUES ('a', 'b', 'c', 'anna', 'session')",
        BEGIN_A_RUN,
        "INSERT INTO run_events (attempt_id, seq, at, kind) VALUES (gen_random_uuid(), 0, now(), 'ok')",
        "UPDATE instances SET since = since - interval '1 day'",
        "CREATE TEMPORARY TABLE mine (x int)",
    ],
    EXECUTOR: [
        "SELECT sha256 FROM tokens",
        "SELECT sha256 FROM sessions",
        "SELECT body FROM deliveries",
        "SELECT * FROM reviews",
        "INSERT INTO reviews (number, person, via, head_sha, verdict) VALUES (1, 'anna', 'session', 'x', 'approve')",
        "INSERT INTO desk_reviews (repository, number, person, via, head_sha, verdict) "
        "VALUES ('r', 1, 'anna', 'session', 'x', 'approve')",
        "INSERT INTO adoptions (commit, actor) VALUES ('x', 'os:anna')",
        "INSERT INTO revision_words (old, new, digest, person, via) VALUES ('a', 'b', 'c', 'anna', 'session')",
        "INSERT INTO tokens (name, scope, sha256, created_by) VALUES ('x', 'admin', 'x', 'x')",
        "INSERT INTO cases (id, kind, body, role, due_at) SELECT gen_random_uuid(), kind, body, role, now() FROM cases",
        "DELETE FROM cases",
        "UPDATE clearances SET answered_at = now(), body = '{\"granted\": true, \"answers\": []}'",
        "UPDATE clearances SET answered_at = now()",
        "INSERT INTO clearances (run, case_id, body) SELECT gen_random_uuid(), id, '{\"granted\": true}' FROM cases",
        "UPDATE clearances SET run = gen_random_uuid()",
        "UPDATE clearances SET case_id = case_id",
        "UPDATE run_steps SET hosts = '{}'",
        "UPDATE run_steps SET begun_at = now()",
        "INSERT INTO run_steps (run, step, attempt, hosts, ended_at) SELECT run, 1, id, '{}', now() FROM attempts",
        "UPDATE lock_queue SET since = since - interval '1 hour'",
        "UPDATE locks SET reason = 'x'",
        "UPDATE attempts SET cancel_by = 'user:anna'",
        "UPDATE attempts SET run = gen_random_uuid()",
        "UPDATE cases SET kind = 'executed', body = body || '{\"kind\": \"executed\"}'",  # it does not hold it
        "UPDATE cases SET run = gen_random_uuid()",
        "UPDATE cases SET role = 'plan'",
        "UPDATE cases SET fence = fence + 5",
        "UPDATE cases SET severity = 0",
        "UPDATE cases SET cancel_by = 'user:anna'",
        "INSERT INTO case_events (case_id, seq, kind, actor) SELECT id, 99, 'x', 'user:anna' FROM cases",
        "UPDATE case_events SET actor = 'system'",
        "DELETE FROM locks WHERE name = 'host:db'",
        "INSERT INTO workers (name, roles, version) VALUES ('x', 'plan', '')",
        "UPDATE workers SET alive_at = now()",
        "DELETE FROM workers",
        "UPDATE installation SET paused = NULL",
        "UPDATE instances SET since = since - interval '1 day'",
        "UPDATE sites SET told_at = now()",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY VIEW pg_roles AS SELECT current_user AS rolname, true AS rolsuper",
    ],
}  # fmt: skip


async def test_what_is_forbidden_is_refused_by_the_server(
    pools: dict[str, Pool], proposed: tuple[Proposed, Approved]
) -> None:
    case = await to_approved(pools, proposed[1])
    await Seats(pools[PLANNER]).take(Who(name="p", roles="plan"))
    await PostgresLocks(pools["owner"]).hold("host:db", "by hand")
    await PostgresLedger(pools["owner"]).appear("i")
    await PostgresRuns(pools["owner"]).ask_clearance(case.runfile.run, case.id)
    await PostgresRuns(pools["owner"]).begin(case.runfile.run, case.id, "run", "i")
    async with pools["owner"].connection() as connection:
        await connection.execute("INSERT INTO sites (name) VALUES ('home')")
    allowed = []
    for name, statements in FORBIDDEN.items():
        for statement in statements:
            try:
                async with pools[name].connection() as connection:
                    await connection.execute(statement)  # type: ignore[arg-type]
            except psycopg.errors.InsufficientPrivilege:
                continue
            allowed.append((name, statement))
    assert allowed == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "rehearsed"},
        {"risk": "critical"},
        {"approval": None},
        {"revision": "d" * 40},
        {"runfile": {"run": "x"}},
        {"verification": {"verdict": "resolved"}},
        {"later": "a word of a later version"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_was_decided_stays_as_it_was(
    pools: dict[str, Pool], proposed: tuple[Proposed, Approved], change: dict[str, Any]
) -> None:
    case = await to_approved(pools, proposed[1])
    cases = PostgresCases(pools[EXECUTOR])
    lease = await cases.claim((Role.EXECUTE,), "e")
    assert lease is not None
    result = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    executed = lease.case.become(Executed, result=result)
    body = executed.model_dump(mode="json")

    class Forged:
        id, kind = case.id, change.get("kind", "executed")
        runfile, plan, proposal, entity, site = case.runfile, case.plan, case.proposal, case.entity, case.site

        def model_dump(self, **_: Any) -> dict[str, Any]:
            return body | change

    with pytest.raises(Broken, match="may not"):
        await cases.save(lease, Forged(), [Event(kind="x", actor="system")], role=Role.PLAN)  # type: ignore[arg-type]
    await cases.save(lease, executed, [Event(kind="case.executed", actor="system")], role=Role.PLAN)


async def claimed(pools: dict[str, Pool], approved: Approved) -> tuple[PostgresCases, Lease]:
    """An approved case in the executor's hands."""
    await to_approved(pools, approved)
    cases = PostgresCases(pools[EXECUTOR])
    lease = await cases.claim((Role.EXECUTE,), "e")
    assert lease is not None
    return cases, lease


@pytest.mark.parametrize("outcome", [Outcome.FIXED, Outcome.NO_DATA, Outcome.DIAGNOSED, Outcome.REJECTED])
async def test_how_a_change_came_out_is_not_the_executors_word(
    pools: dict[str, Pool], proposed: tuple[Proposed, Approved], outcome: Outcome
) -> None:
    cases, lease = await claimed(pools, proposed[1])
    with pytest.raises(Broken, match=f"may not end a case as {outcome}"):
        await cases.save(lease, lease.case.end(outcome, "w"), [Event(kind="x", actor="system")], role=Role.PLAN)
    ended = lease.case.end(Outcome.SELF_RESOLVED, "gone")
    await cases.save(lease, ended, [Event(kind="x", actor="system")], role=Role.PLAN)


async def test_what_is_new_is_not_the_executors_to_change(
    pools: dict[str, Pool], proposed: tuple[Proposed, Approved]
) -> None:
    await claimed(pools, proposed[1])
    async with pools["owner"].connection() as connection:
        await connection.execute("ALTER TABLE cases ADD COLUMN later text")
    for change in ("later = 'x'", "role = 'plan'", "outcome = 'failed'", "repository = 'x'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with pools[EXECUTOR].connection() as connection:
                await connection.execute(f"UPDATE cases SET {change}")  # type: ignore[arg-type]
    step = "kind = 'executed', role = 'plan', body = body || '{\"kind\": \"executed\", \"result\": {}}'"
    async with pools[EXECUTOR].connection() as connection:
        await connection.execute("UPDATE cases SET due_at = now(), woken = true, events = events")
        for beside in ("later = 'x'", "repository = 'x'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"may not change \{"):
                await connection.execute(f"UPDATE cases SET {step}, {beside}")  # type: ignore[arg-type]
        await connection.execute(f"UPDATE cases SET {step}")  # type: ignore[arg-type]


async def test_a_view_of_its_own_fools_no_guard(pools: dict[str, Pool], proposed: tuple[Proposed, Approved]) -> None:
    await claimed(pools, proposed[1])
    async with pools["owner"].connection() as connection:
        await connection.execute(
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO gitmedic_executor', current_database()); "
            "END $$"
        )
    async with pools[EXECUTOR].connection() as connection:
        await connection.execute(
            "CREATE TEMPORARY VIEW pg_roles AS SELECT current_user AS rolname, true AS rolsuper; "
            "CREATE FUNCTION pg_temp.works_as(text) RETURNS boolean LANGUAGE sql AS 'SELECT false'"
        )
        found = await (await connection.execute("SELECT public.works_as('gitmedic_executor')")).fetchone()
        assert found == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="change"):
            await connection.execute("UPDATE cases SET severity = 0")


async def test_each_table_is_named_for_each_role(pools: dict[str, Pool]) -> None:
    async with pools["owner"].connection() as connection:
        rows = await (await connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = "
                                               "current_schema()::regnamespace")).fetchall()  # fmt: skip
    tables = {str(name) for (name,) in rows}
    for role in narrow.NAMES:
        text = narrow.text_of(role).replace("\n", " ").replace(",", " ").replace(".", " ")
        assert tables - set(text.split()) == set(), f"say in roles/{role}.sql what it may do with these, or nothing"


async def test_a_migration_gives_the_roles_their_rights_anew(pools: dict[str, Pool], database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {EXECUTOR}")  # type: ignore[arg-type]
        await narrow.grant_again(connection)
    await check_schema(pools[EXECUTOR])
    assert "CREATE ROLE gitmedic_executor LOGIN" in narrow.script() and "PASSWORD '" not in narrow.script()


async def test_a_case_that_it_does_not_hold_is_not_saved(
    pools: dict[str, Pool], proposed: tuple[Proposed, Approved]
) -> None:
    case = await to_approved(pools, proposed[1])
    result = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    executed = case.become(Executed, result=result)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="that it does not hold"):
        async with pools[EXECUTOR].connection() as connection:
            body = executed.model_dump_json()
            await connection.execute("UPDATE cases SET kind = 'executed', role = 'plan', body = %s::jsonb", (body,))


async def test_the_planner_keeps_vectors_and_goes_without_their_index(
    pools: dict[str, Pool],
) -> None:
    """It owns no table, so it can make neither that of the vectors nor an index of it."""
    for number in range(4):
        await PostgresNotebook(pools["owner"]).add(f"word {number}", author="os:anna")
    vectors = Vectors(pools[PLANNER], FakeEmbedder(), index_from=3)
    with structlog.testing.capture_logs() as told:
        assert await vectors.catch_up() == 4
        assert await vectors.catch_up() == 0
    assert [row["event"] for row in told] == ["memory.no_index", "memory.embedder_up"]
    assert len(await vectors.near("word 2", 2)) == 2
    async with pools["owner"].connection() as connection:
        await connection.execute("DROP TABLE memory_embedding")
    without = Vectors(pools[PLANNER], FakeEmbedder())
    assert await without.catch_up() == 0
    assert "gitmedic_planner may make no table for them" in without.why
    async with await psycopg.AsyncConnection.connect(pools["owner"].conninfo, autocommit=True) as connection:
        await narrow.create(connection)
    assert await without.catch_up() == 0 and without.is_up
