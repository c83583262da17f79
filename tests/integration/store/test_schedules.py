"""Two planners at once on one PostgreSQL: every moment has one row, and what is to run runs once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.schedules import PostgresSchedules
from receiver.agenda import Agenda
from receiver.domain.case import Ended, Planned, Vetted
from receiver.domain.outcome import Role
from receiver.domain.standing import Standing
from receiver.errors import Broken
from receiver.identity import new_id
from receiver.pipeline import advance
from receiver.ports import Event
from receiver.testing import World
from receiver.testing.outside import FakeNotifier
from receiver.testing.repo import FakeRepo
from tests.integration.store.test_narrow import EXECUTOR, PLANNER, RECEIVER, Pool, pools
from tests.unit.test_agenda import OWN, to_vetted
from tests.unit.test_pipeline import POLICY

__all__ = ["pools"]
pytestmark = pytest.mark.anyio
SCHEDULES = b"""
schedules:
  often: {cron: '*/5 * * * *', playbook: web_look, match: 'site="home"'}
  skips: {cron: '*/5 * * * *', playbook: web_look, hosts: [web1], missed: skip}
"""


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


async def test_a_reading_run_walks_under_the_narrow_roles(pools: dict[str, Pool]) -> None:
    world = World(OWN, RulesPlanner())
    await world.agenda.tick()
    vetted = await to_vetted(world)
    end = await advance(vetted, world.ports)
    assert isinstance(end, Ended) and end.asked
    (moment, _) = next(iter(world.schedules.filed.values()))
    row = world.cases.rows[vetted.id].case
    assert isinstance(row, Planned)
    assert await PostgresSchedules(pools[PLANNER]).since("look", "r")
    assert await PostgresSchedules(pools[PLANNER]).file(moment, [row])
    cases, executor = PostgresCases(pools[PLANNER]), PostgresCases(pools[EXECUTOR])
    lease = await cases.claim((Role.PLAN,), "p")
    assert lease is not None
    await cases.save(lease, vetted, [Event(kind="case.vetted", actor="system")], role=Role.EXECUTE)
    lease = await executor.claim((Role.EXECUTE,), "e")
    assert lease is not None and isinstance(lease.case, Vetted) and lease.case.standing == vetted.standing
    forged = end.model_copy(update={"standing": Standing(by="policy:other@x", at=moment.due_at)})
    with pytest.raises(Broken, match="change standing of a case"):
        await executor.save(lease, forged, [Event(kind="case.ended", actor="system")], role=Role.PLAN)
    await executor.save(lease, end, [Event(kind="case.ended", actor="system")], role=Role.PLAN)
    # the server writes down what a person asked for; the executor schedules nothing
    mine = moment.model_copy(update={"schedule": "mine", "by": "user:anna"})
    assert await PostgresSchedules(pools[RECEIVER]).file(mine, [row.model_copy(update={"id": new_id()})])
    with pytest.raises(Broken, match="permission denied"):
        await PostgresSchedules(pools[EXECUTOR]).file(mine.model_copy(update={"schedule": "other"}), [])
