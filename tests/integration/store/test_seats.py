"""Names of workers: one process has each, and whoever had it before is fenced off."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.migrate import check_schema, migrations
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.runs import PostgresRuns
from receiver.adapters.store.seats import Seat, Seats, Who
from receiver.config import load
from receiver.domain.outcome import Role
from receiver.domain.run import RunEvent, RunResult
from receiver.errors import Conflict, Refused
from receiver.identity import new_id
from receiver.ports import Lease
from receiver.wiring.work import work
from tests.fix_stores import BOTH, NOW
from tests.integration.store.test_cases import case_ids

Pool = AsyncConnectionPool[Any]
pytestmark = pytest.mark.anyio
HERE = Who(name="w", roles="execute", sites=("lab",))
ELSEWHERE = dataclasses.replace(HERE, host="other", machine="another boot", pid=1)


async def held(pool: Pool, seat: Seat) -> Lease:
    """A case in the hands of this seat."""
    await case_ids(pool, 1)
    cases = PostgresCases(pool)
    await cases.open_stored()
    lease = await cases.claim(BOTH, seat.who.name, seat=seat.fence)
    assert lease is not None
    return lease


async def silent(pool: Pool, seconds: float) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE workers SET alive_at = now() - make_interval(secs => %s)", (seconds,))


async def test_a_second_of_one_name_is_refused_while_the_first_lives(pool: Pool) -> None:
    seats = Seats(pool)
    seat = await seats.take(HERE)
    with pytest.raises(Refused, match="has this name and lives") as caught:
        await seats.take(ELSEWHERE)
    assert caught.value.reason == "name_taken" and "--name" in caught.value.next_step
    await silent(pool, 44)
    with pytest.raises(Refused):
        await seats.take(ELSEWHERE)
    await silent(pool, 46)
    assert (await seats.take(ELSEWHERE)).fence > seat.fence


async def test_who_lost_the_name_is_told_by_whom_and_writes_nothing(pool: Pool) -> None:
    seats, cases = Seats(pool), PostgresCases(pool)
    seat = await seats.take(HERE)
    lease = await held(pool, seat)
    await silent(pool, 60)
    other = await seats.take(ELSEWHERE)
    with pytest.raises(Refused, match="process 1 on other has it now") as caught:
        await seat.beat({})
    assert caught.value.reason == "seat_lost"
    assert await cases.claim(BOTH, "w", seat=seat.fence) is None
    assert await cases.renew(lease) is False
    with pytest.raises(Conflict, match="lease was lost"):
        await cases.save(lease, lease.case, [], role=BOTH[0])
    assert await cases.put_off(lease, at=None, after_seconds=0, why="x") is False
    await seat.leave()
    await other.beat({"steps": {}})
    assert await cases.claim(BOTH, "w", seat=other.fence) is not None, "what the first had is free at once"


async def test_nothing_of_a_run_is_written_without_the_lease(pool: Pool) -> None:
    seats, runs, locks = Seats(pool), PostgresRuns(pool), PostgresLocks(pool)
    seat = await seats.take(HERE)
    lease = await held(pool, seat)
    mine, case, (run, other) = runs.under(lease), lease.case.id, (new_id(), new_id())
    grip = locks.under(lease)
    assert await grip.take(run, case, ["host:a"]) is None
    assert await mine.ask_clearance(run, case) is None
    attempt = await mine.begin(run, case, "run", "i")
    await silent(pool, 60)
    await seats.take(ELSEWHERE)
    for mode in ("run", "check"):
        with pytest.raises(Conflict, match="lease was lost"):
            await mine.begin(other, case, mode, "i")  # type: ignore[arg-type]
    for act in (grip.take(run, case, ["host:b"]), mine.ask_clearance(other, case), mine.drop_clearance(run)):
        with pytest.raises(Conflict, match="lease was lost"):
            await act
    async with pool.connection() as connection:
        asked = await (await connection.execute("SELECT run::text FROM clearances")).fetchall()
    assert asked == [(run,)], "its successor asks and drops"
    await grip.free(run)
    assert [row["name"] for row in await locks.all()] == ["host:a"], "whoever has the case now frees it"
    # what it knows of its own attempt is heard once
    await mine.record(attempt, [RunEvent(seq=0, at=NOW, kind="ok", text="late")])
    late = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    await mine.finish(attempt, late)
    await runs.finish(attempt, late.model_copy(update={"status": "interrupted"}))
    assert (await runs.attempt_of(run, "run")) == (attempt, late)
    with pytest.raises(Conflict, match="ended by somebody else"):
        await mine.record(attempt, [RunEvent(seq=1, at=NOW, kind="ok", text="later")])


async def test_who_loses_its_lease_in_the_very_moment_takes_no_lock(pool: Pool) -> None:
    seat = await Seats(pool).take(HERE)
    lease = await held(pool, seat)
    locks = PostgresLocks(pool)
    async with pool.connection() as other:
        async with other.transaction():
            await other.execute("UPDATE cases SET fence = fence + 1")
            taking = asyncio.create_task(locks.under(lease).take(new_id(), lease.case.id, ["host:a"]))
            async with asyncio.timeout(30):
                waiting = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
                while not taking.done() and await (await other.execute(waiting)).fetchone() is None:
                    await asyncio.sleep(0.01)
        with pytest.raises(Conflict, match="lease was lost"):
            await taking
    assert await locks.all() == [] and await locks.waiting() == []


async def test_a_killed_process_of_this_machine_leaves_its_name_at_once(pool: Pool) -> None:
    seats = Seats(pool)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        who = dataclasses.replace(HERE, pid=process.pid)
        first = await seats.take(who)
        for seconds in (0, 3600):  # its database was away, or it was stopped: it goes on with what it has in hand
            await silent(pool, seconds)
            with pytest.raises(Refused, match="lives") as caught:
                await seats.take(HERE)
            assert "given up when that process ends" in caught.value.next_step
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (await seats.take(HERE)).fence > first.fence


async def test_a_process_that_was_stopped_for_long_ends_itself(pool: Pool) -> None:
    now = [100.0]
    seat = await Seats(pool).take(HERE)
    stopped = Seat(pool, HERE, seat.fence, clock=lambda: now[0])
    now[0] += 44
    await stopped.beat({})
    now[0] += 46
    with pytest.raises(Refused, match="stopped for 46 s") as caught:
        await stopped.beat({})
    assert caught.value.reason == "seat_lost"


async def test_who_said_goodbye_is_no_hindrance(pool: Pool) -> None:
    seats = Seats(pool)
    seat = await seats.take(HERE)
    await seat.leave()
    assert (await seats.take(ELSEWHERE)).fence > seat.fence
    assert (await seats.found("w") or {})["host"] == "other"
    assert await seats.found("nobody") is None


async def test_what_the_version_before_left_holds_up_nobody(postgres: EmbeddedPostgres) -> None:
    """It had no seats: its row may be fresh, and its process gone."""
    async with await psycopg.AsyncConnection.connect(postgres.dsn("postgres"), autocommit=True) as owner:
        await owner.execute("DROP DATABASE IF EXISTS version_before WITH (FORCE)")
        await owner.execute("CREATE DATABASE version_before")
    dsn = postgres.dsn("version_before")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for name, text in migrations().items():
            if name == "0011_sites.sql":
                await connection.execute("INSERT INTO workers (name, roles, version) VALUES ('w', 'execute', '')")
            await connection.execute(text.encode())
    async with open_pool(dsn) as pool:
        assert (await Seats(pool).take(HERE)).fence > 0


async def test_who_only_gets_ready_has_no_name_yet(pool: Pool, database: str, tmp_path: Path) -> None:
    """What is looked at before the work takes as long as it takes, and may end in a refusal."""
    said = conninfo_to_dict(database)
    url = f"postgresql://{said['user']}:{said['password']}@/{said['dbname']}?host={said['host']}"
    tier = '[planner.tiers.fast]\nkind = "anthropic"\nkey_file = "/nowhere/key"\n'
    (tmp_path / "gitmedic.toml").write_text(f"worker.name = 'w'\ndatabase.url = '{url}'\n{tier}")
    (tmp_path / "gitmedic.toml").chmod(0o600)
    settings = load(tmp_path, environment={})
    create_ops_repository(settings.repo.path, {"policy.yml": b"mode: observe\n"}, "ann <ann@localhost>")
    with pytest.raises(Refused, match="none was ever adopted"):
        await work(settings, [Role.PLAN])
    assert await Seats(pool).found("w") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("INSERT INTO schema_migrations (name, sha256) VALUES ('9999_later.sql', '')", "newer_database"),
        ("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)", "older_database"),
        ("DROP TABLE schema_migrations", "older_database"),
    ],
)
async def test_a_worker_of_another_version_than_the_database_refuses(pool: Pool, change: str, reason: str) -> None:
    await check_schema(pool)
    seat = await Seats(pool).take(HERE)
    async with pool.connection() as connection:
        await connection.execute(change)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        await check_schema(pool)
    assert caught.value.reason == reason and caught.value.next_step
    if "schema_migrations (" in change:
        with pytest.raises(Refused, match="9999_later"):
            await seat.beat({})
