"""Two planners at once on one PostgreSQL: every moment has one row, and what is to run runs once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.schedules import PostgresSchedules
from receiver.agenda import Agenda
from receiver.testing.outside import FakeNotifier
from receiver.testing.repo import FakeRepo
from tests.unit.test_agenda import OWN
from tests.unit.test_pipeline import POLICY

SCHEDULES = b"""
schedules:
  often: {cron: '*/5 * * * *', playbook: web_look, match: 'site="home"'}
  skips: {cron: '*/5 * * * *', playbook: web_look, hosts: [web1], missed: skip}
"""


@pytest.mark.anyio
async def test_two_planners_fire_each_moment_once(database: str) -> None:
    repo = FakeRepo()
    repo.adopt(OWN | {"policy.yml": POLICY + SCHEDULES})
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(open_pool(database)) for _ in range(2)]
        ledgers = [PostgresLedger(pool) for pool in pools]
        await ledgers[0].appear("test")
        planners = [
            Agenda(repo, PostgresSchedules(pool), ledger, ledger, FakeNotifier())
            for pool, ledger in zip(pools, ledgers, strict=True)
        ]
        await planners[0].tick()
        async with pools[0].connection() as connection:
            await connection.execute("UPDATE schedules SET since = now() - %s", (timedelta(hours=3),))
        await asyncio.gather(*[planner.tick() for planner in planners for _ in range(4)])
        await asyncio.gather(*[planner.tick() for planner in planners])
        async with pools[1].connection() as connection:
            rows = await (
                await connection.execute("SELECT name, fate, cardinality(cases) FROM schedule_runs")
            ).fetchall()
            opened = await (await connection.execute("SELECT count(*) FROM cases")).fetchone()
    often = [row for row in rows if row[0] == "often"]
    assert len(often) in (36, 37) and next(row[2] for row in often if row[1] == "ran") == 2
    # a moment that came while they looked is one more, and finds the cases of the one before open
    assert sum(row[1] == "ran" for row in often) == 1
    assert {row[1] for row in often} <= {"ran", "missed", "overlap"}
    assert opened == (sum(row[2] for row in rows),)
