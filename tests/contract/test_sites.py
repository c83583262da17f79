"""What the store promises about places: Cases by site, and the port Sites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.heartbeat import Heartbeats
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.seats import Seats, Who
from receiver.adapters.store.sites import PostgresSites
from receiver.domain.case import Planned, Vetted
from receiver.domain.entity import Entity
from receiver.domain.outcome import Mode, Risk, Role
from receiver.domain.plan import Plan
from receiver.domain.runfile import Pins, RunFile
from receiver.identity import new_id
from receiver.ports import Event
from receiver.testing.clock import FakeClock
from receiver.testing.people import FakeDesk
from receiver.testing.store import FakeCases, FakeRuns, FakeSites
from tests.fix_stores import BOTH, NOW

pytestmark = pytest.mark.anyio
RUN = (Role.EXECUTE,)


@dataclass
class Place:
    """The rows, the sites, and workers that come and go."""

    cases: Any
    desk: Any
    sites: Any
    come: Callable[[str, tuple[str, ...]], Awaitable[int]]  #: name and sites → its number
    go: Callable[[str], Awaitable[None]]
    waiting: Callable[[str], Awaitable[str]]

    async def vetted(self, site: str, trouble: str = "home") -> str:
        """A case that is due for an executor: its targets are at `site`, its trouble is elsewhere."""
        plan = Plan(action="playbook", playbook="p", why="w")
        entity = Entity(kind="host", name=trouble, host=trouble, site=trouble)
        case = Planned(id=new_id(), opened_at=NOW, revision="c" * 40, mode=Mode.PROPOSE, entity=entity, plan=plan)
        await self.desk.open(case, [Event(kind="case.planned", actor="user:a")])
        lease = await self.cases.claim((Role.PLAN,), "p")
        runfile = RunFile(
            run=new_id(), playbook="p", targets=("h",), params={}, revision="c" * 40, case=case.id, reason="r",
            pins=Pins(playbook="a" * 40, roles="", collections="", targets="b" * 64), alert=None,
            requested_by="user:a", expires_at=NOW,
        )  # fmt: skip
        vetted = lease.case.become(Vetted, runfile=runfile, risk=Risk.LOW, guard=(), site=site)
        await self.cases.save(lease, vetted, [Event(kind="case.vetted", actor="system")], role=Role.EXECUTE)
        return case.id


async def postgres(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    pool = await stack.enter_async_context(open_pool(request.getfixturevalue("database")))
    seats, taken = Seats(pool), {}

    async def come(name: str, sites: tuple[str, ...]) -> int:
        taken[name] = await seats.take(Who(name=name, roles="execute", sites=sites))
        return taken[name].fence

    async def go(name: str) -> None:
        await taken[name].leave()

    async def waiting(case: str) -> str:
        async with pool.connection() as connection:
            row = await (await connection.execute("SELECT waiting FROM cases WHERE id = %s", (case,))).fetchone()
        return str(row[0]) if row else ""

    sites = PostgresSites(pool, patience_seconds=0)
    return Place(PostgresCases(pool), PostgresDesk(pool), sites, come, go, waiting)


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    clock = FakeClock()
    cases = FakeCases(clock)
    fences = iter(range(1, 100))

    async def come(name: str, sites: tuple[str, ...]) -> int:
        cases.seats[name] = (sites, next(fences))
        return cases.seats[name][1]

    async def go(name: str) -> None:
        del cases.seats[name]

    async def waiting(case: str) -> str:
        return cases.rows[case].waiting

    return Place(cases, FakeDesk(clock, cases, FakeRuns(cases)), FakeSites(cases), come, go, waiting)


@pytest.fixture(params=[postgres, fake], ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


async def test_a_run_is_taken_by_who_serves_the_site_of_its_targets(place: Place) -> None:
    case = await place.vetted("lab", trouble="home")
    assert await place.cases.claim(RUN, "home", sites=("home",)) is None
    lease = await place.cases.claim(RUN, "lab", sites=("attic", "lab"))
    assert lease is not None and lease.case.id == case


async def test_who_names_no_site_leaves_those_that_another_living_one_names(place: Place) -> None:
    case = await place.vetted("lab")
    seat = await place.come("lab", ("lab",))
    anywhere = await place.come("anywhere", ())
    assert await place.cases.claim(RUN, "anywhere", seat=anywhere) is None
    other = await place.vetted("home")
    lease = await place.cases.claim(RUN, "anywhere", seat=anywhere)
    assert lease is not None and lease.case.id == other
    await place.go("lab")
    assert await place.cases.claim(RUN, "lab", sites=("lab",), seat=seat + 50) is None, "a number that nobody has"
    lease = await place.cases.claim(RUN, "anywhere", seat=anywhere)
    assert lease is not None and lease.case.id == case


async def test_a_planner_is_at_no_site(place: Place) -> None:
    await place.vetted("lab")
    await place.come("lab", ("lab",))
    assert await place.cases.claim((Role.PLAN,), "p") is None
    lease = await place.cases.claim(BOTH, "x", sites=("lab",))
    assert lease is not None
    await place.cases.save(lease, lease.case, [Event(kind="x", actor="system")], role=Role.PLAN)
    assert await place.cases.claim((Role.PLAN,), "p") is not None


async def test_a_site_without_an_executor_is_said_once_and_taken_back(place: Place) -> None:
    case = await place.vetted("lab")
    assert [(one.site, one.is_over) for one in await place.sites.look(["home"])] == [("home", False), ("lab", False)]
    assert await place.sites.look(["home"]) == []
    assert (await place.waiting(case)).startswith("no executor for site 'lab' since 2")
    assert [one.site for one in await place.sites.unserved()] == ["home", "lab"]
    await place.come("lab", ("lab",))
    assert [(one.site, one.is_over) for one in await place.sites.look(["home"])] == [("lab", True)]
    assert await place.waiting(case) == ""
    await place.come("anywhere", ())
    assert [(one.site, one.is_over) for one in await place.sites.look(["home"])] == [("home", True)]
    assert await place.sites.unserved() == []
    await place.go("lab")
    assert await place.sites.look(["home"]) == [], "who names no site serves this one, too"


async def test_a_site_counts_those_who_would_take_its_runs(database: str) -> None:
    async with open_pool(database) as pool:
        seats, beats = Seats(pool), Heartbeats(pool)
        await PostgresSites(pool).look(["home", "lab"])

        async def counted() -> dict[str, int]:
            return {row["name"]: row["executors"] for row in (await beats.snapshot())["sites"]}

        assert await counted() == {"home": 0, "lab": 0}
        await seats.take(Who(name="p", roles="plan"))
        for name in ("one", "two"):
            await seats.take(Who(name=name, roles="execute"))
        lab = await seats.take(Who(name="lab", roles="execute", sites=("lab",)))
        assert await counted() == {"home": 2, "lab": 1}
        await lab.leave()
        assert await counted() == {"home": 2, "lab": 2}
