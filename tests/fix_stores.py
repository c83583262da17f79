"""Every port of the store, twice: PostgreSQL and the fakes, with what a test does behind their backs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.store.access import PostgresAccess
from receiver.adapters.store.archive import PostgresArchive
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.deliveries import PostgresDeliveries
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.inbox import PostgresInbox
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.pulse import PostgresPulse
from receiver.adapters.store.runs import PostgresRuns
from receiver.adapters.store.schedules import PostgresSchedules
from receiver.domain.case import Approved, Case, Closed, Planned, Proposed
from receiver.domain.outcome import Mode, Outcome, Role
from receiver.domain.plan import Plan
from receiver.identity import new_id
from receiver.pipeline import advance
from receiver.ports import Event, Lease, Post, Token
from receiver.testing import World
from receiver.testing.clock import FakeClock
from receiver.testing.locks import FakeLocks
from receiver.testing.people import FakeAccess, FakeArchive, FakeDeliveries, FakeDesk, FakeInbox, FakeLogs
from receiver.testing.schedules import FakeSchedules
from receiver.testing.store import FakeCases, FakeLedger, FakeRuns
from tests.unit.test_pipeline import FILES, alert

NOW = datetime(2026, 11, 26, tzinfo=UTC)
BOTH = (Role.PLAN, Role.EXECUTE)


def post(name: str, *, severity: str = "warning", status: str = "firing", starts_at: datetime = NOW) -> Post:
    """One alert, as Alertmanager sends it."""
    labels = {"alertname": name, "severity": severity}
    one = {"status": status, "labels": labels, "startsAt": starts_at.isoformat()}
    return Post(source="prom", body=json.dumps({"alerts": [one]}).encode())


@dataclass
class Stores:
    """One store, port by port."""

    cases: Any
    desk: Any
    inbox: Any
    ledger: Any
    runs: Any
    locks: Any
    archive: Any
    logs: Any
    pulse: Any
    access: Any
    deliveries: Any
    schedules: Any
    pass_seconds: Callable[[float], Awaitable[None]]  #: for due times and leases
    invite: Callable[[str], Awaitable[str]]  #: the secret of a link
    give: Callable[[Token], Awaitable[str]]  #: the secret of a token
    revoke: Callable[[str], Awaitable[None]]
    pause: Callable[[str | None], Awaitable[None]]

    async def open(self) -> Planned:
        """A case that a person began."""
        plan = Plan(action="playbook", playbook="web_restart", why="w")
        case = Planned(id=new_id(), opened_at=NOW, revision="c" * 40, mode=Mode.PROPOSE, entity=None, plan=plan)
        await self.desk.open(case, [Event(kind="case.planned", actor="user:anna", text="begun")])
        return case

    async def claim(self) -> Lease:
        """What is due."""
        await self.cases.open_stored()
        lease = await self.cases.claim(BOTH, "w")
        assert isinstance(lease, Lease)
        return lease

    async def save(self, case: Case, lease: Lease | None = None, role: Role = Role.PLAN) -> None:
        """Under a lease, by default a fresh one of the only case."""
        held = lease or await self.claim()
        await self.cases.save(held, case, [Event(kind=f"case.{case.kind}", actor="system")], role=role)

    async def close(self, outcome: Outcome = Outcome.NOTIFIED) -> str:
        """The only due case ends; its id."""
        lease = await self.claim()
        await self.save(lease.case.end(outcome, "because").become(Closed), lease)
        return lease.case.id


async def postgres(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Stores:
    pool = await stack.enter_async_context(open_pool(request.getfixturevalue("database")))
    access, ledger = PostgresAccess(pool), PostgresLedger(pool)
    await ledger.appear("test")

    async def pass_seconds(seconds: float) -> None:
        back = timedelta(seconds=seconds)
        async with pool.connection() as connection:
            await connection.execute(
                "UPDATE cases SET due_at = due_at - %s, lease_until = lease_until - %s", (back,) * 2
            )
            await connection.execute("UPDATE clearances SET answered_at = answered_at - %s", (back,))
            await connection.execute("UPDATE schedules SET since = since - %s", (back,))

    async def give(token: Token) -> str:
        return await access.create_token(token.name, token.scope, source=token.source, created_by="os:test")

    async def revoke(name: str) -> None:
        assert await access.revoke_token(name)

    pulse = PostgresPulse(request.getfixturevalue("database"))
    listening = asyncio.create_task(pulse.run())
    stack.callback(listening.cancel)
    archive = PostgresArchive(pool)
    return Stores(
        logs=archive, pulse=pulse, cases=PostgresCases(pool),
        desk=PostgresDesk(pool), inbox=PostgresInbox(pool), ledger=ledger,
        runs=PostgresRuns(pool), locks=PostgresLocks(pool), archive=archive, access=access,
        deliveries=PostgresDeliveries(pool), schedules=PostgresSchedules(pool),
        pass_seconds=pass_seconds, invite=access.create_setup_link, give=give, revoke=revoke, pause=ledger.pause,
    )  # fmt: skip


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Stores:
    clock = FakeClock(datetime.now(UTC))
    cases = FakeCases(clock)
    runs, inbox, access, ledger = FakeRuns(cases), FakeInbox(clock, cases), FakeAccess(), FakeLedger(clock, cases)
    logs = FakeLogs(runs)

    async def pass_seconds(seconds: float) -> None:
        clock.pass_seconds(seconds)

    async def invite(person: str) -> str:
        access.links["link"] = person
        return "link"

    async def give(token: Token) -> str:
        access.tokens[f"gm_{token.name}"] = token
        return f"gm_{token.name}"

    async def revoke(name: str) -> None:
        del access.tokens[f"gm_{name}"]

    async def pause(why: str | None) -> None:
        ledger.why_paused = why

    return Stores(
        cases=cases, desk=FakeDesk(clock, cases, runs), inbox=inbox, ledger=ledger, runs=runs, locks=FakeLocks(cases),
        logs=logs, pulse=cases.pulse, archive=FakeArchive(cases, logs, inbox),
        access=access, deliveries=FakeDeliveries(clock, cases), schedules=FakeSchedules(clock, cases),
        pass_seconds=pass_seconds, invite=invite, give=give, revoke=revoke, pause=pause,
    )  # fmt: skip


@pytest.fixture(params=[postgres, fake], ids=lambda maker: maker.__name__)
async def stores(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Stores]:
    """The store, and then the fakes."""
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


@pytest.fixture
async def proposed() -> tuple[Proposed, Approved]:
    """A case as the stages make it, before and after a person merged it."""
    world = World(FILES, RulesPlanner())
    id = world.fire(alert())
    await world.settle()
    before = world.case(id)
    await world.merge(id, "anna")
    after = await advance(before, world.ports)
    assert isinstance(before, Proposed) and isinstance(after, Approved)
    return before, after
