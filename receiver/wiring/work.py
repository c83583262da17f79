"""A worker, put together: the plan role has no runner, the execute role asks no source."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from receiver.adapters.facts.gather import GatherFacts
from receiver.adapters.notify.log import LogNotifier
from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.adapters.proof.sources import Sources
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.bytecode import compile_missing
from receiver.adapters.signature.sshsig import SshSignatures
from receiver.adapters.store.migrate import check_schema
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.purse import PostgresPurse
from receiver.adapters.store.seats import BEAT_SECONDS, Seat, Seats, Who
from receiver.adapters.store.watchbook import PostgresWatchbook
from receiver.aftermath import look_at_asked
from receiver.attendance import roll_call
from receiver.config import Settings
from receiver.domain.outcome import Role
from receiver.domain.quorum import NAMESPACE
from receiver.domain.run import Job, RunEvent, Rung, RunResult
from receiver.errors import Broken, Retry
from receiver.office import Office, Store, SystemClock, open_office
from receiver.pipeline import Ports
from receiver.places import Place
from receiver.planners import tiers_of
from receiver.ports import Planner
from receiver.starter import dsn_for, instance_id
from receiver.watch import Rounds, Watch
from receiver.wiring.process import VERSION, check_at_home, stop_on_signals
from receiver.worker import Station, Worker

_ALIVE_SECONDS = 15.0
_DAY_SECONDS = 86400.0
#: how soon somebody who asks how things are now is answered
_LOOK_SECONDS = 1.0
#: how soon a webhook is heard of
_LISTEN_SECONDS = 0.5
#: how soon after its moment a schedule goes off
_AGENDA_SECONDS = 5.0
#: how soon a new case has its vector, and an embedder that is down is asked again
_EMBED_SECONDS = 15.0


async def work(settings: Settings, roles: Sequence[Role]) -> None:
    """A worker, until a signal, or until it has lost its name."""
    stop = stop_on_signals()
    if Role.PLAN in roles:
        check_at_home(settings, "the planner")
    async with AsyncExitStack() as stack:
        office = await stack.enter_async_context(
            open_office(settings, may_make=Role.PLAN in roles or settings.embedded)
        )
        store = office.store
        instance = instance_id(settings.data_dir)
        await check_schema(store.pool)
        plans = Role.PLAN in roles
        sources = Sources(settings.sources if plans else (), SystemClock())
        stack.push_async_callback(sources.aclose)
        tiered = tiers_of(settings, PostgresPurse(store.pool)) if plans else None
        if tiered is not None:
            stack.push_async_callback(tiered.aclose)
            await tiered.ready()
            await office.repo.revision(await office.repo.adopted())  # a prompt with an error is said now, not at night
        # from here on it beats: a name that is had by who only gets ready would be silent, or lost, before it works
        seat = await store.seats.take(who_of(settings, roles, instance))
        stack.push_async_callback(_leave, seat)
        await store.ledger.appear(instance)
        ports = _ports(settings, office, sources, tiered or RulesPlanner(), instance, executes=Role.EXECUTE in roles)
        looks = (_LOOK_SECONDS, partial(look_at_asked, store.resolutions, store.archive, sources, office.repo))
        worker = Worker(
            ports,
            store.cases,
            store.runs,
            roles=roles,
            name=seat.who.name,
            station=Station(sites=seat.who.sites, seat=seat.fence),
            concurrency=settings.worker.concurrency,
            poll_seconds=settings.worker.poll_seconds,
            chores=[
                (_ALIVE_SECONDS, lambda: store.ledger.appear(instance)),
                (BEAT_SECONDS, lambda: _beat(store, worker, seat, tiered)),
                *(upkeep(office) if plans else []),
                *([looks] if plans else []),
            ],
            under=lambda ports, lease: replace(ports, runs=store.runs.under(lease), locks=store.locks.under(lease)),
        )
        await worker.run(stop)


def _ports(
    settings: Settings, office: Office, sources: Sources, planner: Planner, instance: str, *, executes: bool
) -> Ports:
    store, clock = office.store, SystemClock()
    return Ports(
        clock=clock,
        ledger=store.ledger,
        chronicle=store.ledger,
        gate=store.ledger,
        runs=store.runs,
        steps=store.runs,
        locks=store.locks,
        repo=office.repo,
        places=office.places,
        signatures=SshSignatures(NAMESPACE),
        proof=sources,
        facts=GatherFacts(sources, clock),
        memory=store.memory,
        planner=planner,
        runner=_runner(settings) if executes else NoRunner(),
        notifier=LogNotifier(),
        instance=instance,
    )


def who_of(settings: Settings, roles: Sequence[Role], instance: str = "") -> Who:
    """Under which name a worker of these settings works, and for which sites."""
    sites = settings.worker.sites if Role.EXECUTE in roles else ()
    name = settings.worker.name or "-".join([socket.gethostname(), *roles, *sites])[:100]
    return Who(name=name, roles=" ".join(roles), sites=sites, version=VERSION, instance=instance)


async def health(settings: Settings, roles: Sequence[Role]) -> tuple[str, dict[str, Any] | None, bool]:
    """The name of the worker that these settings would start, its row, and whether it lives."""
    name = who_of(settings, roles).name
    async with open_pool(dsn_for(settings), most=1) as pool:
        row = await Seats(pool).found(name)
    return name, row, row is not None and row["lives"]


async def _leave(seat: Seat) -> None:
    with suppress(Retry):
        await seat.leave()


def upkeep(office: Office) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
    """What is tidied for everybody, by the role that writes most of the repository: the planner."""
    chores: list[tuple[float, Callable[[], Awaitable[object]]]]
    chores = [(_ALIVE_SECONDS, office.store.locks.sweep), (_DAY_SECONDS, office.repo.sweep)]
    chores += [(_DAY_SECONDS, repo.sweep) for repo in office.runs]
    chores += [(_DAY_SECONDS, office.store.deliveries.sweep), (_AGENDA_SECONDS, office.agenda.tick)]
    forges = {place.name: office.settings.at(place.name).forge for place in office.places.all}
    remote = [place for place in office.places.all if forges[place.name].is_remote]
    # one that was not opened is said by doctor and by every case that it takes, and not every half second
    chores += [(_LISTEN_SECONDS, rounds_of(office, place).tick) for place in remote if place.is_open]
    chores += [(_ALIVE_SECONDS, lambda: roll_call(office.repo, office.store.sites, LogNotifier()))]
    if office.store.memory.vectors is not None:
        chores.append((_EMBED_SECONDS, office.store.memory.vectors.catch_up))
    return chores


def rounds_of(office: Office, place: Place) -> Rounds:
    """What looks at a place's forge between the cases."""
    store, is_catalogs = office.store, place.name == ""
    watch = Watch(
        forge=place.forge, hosting=place.hosting, repo=office.repo, branches=place.branches,
        adoption=office.repo if is_catalogs else None, archive=store.archive, desk=store.desk, ledger=store.ledger,
        book=PostgresWatchbook(store.pool), notifier=LogNotifier(), clock=SystemClock(), base=place.base, bot=place.bot,
        repository=place.repository, prefix=place.prefix, place=place.name, routing=office.places.routing,
    )  # fmt: skip
    return Rounds(watch, store.deliveries, office.settings.at(place.name).forge.poll_seconds)


class NoRunner:
    """What the plan role has in the place of a runner: it touches no host."""

    async def run(
        self,
        job: Job,
        record: Callable[[Sequence[RunEvent]], Awaitable[None]],
        cancelled: Callable[[], Awaitable[bool]],
    ) -> RunResult:
        """Never."""
        raise Broken(f"run {job.run_id} was given to the plan role")

    async def isolation(self) -> Rung:
        """Never."""
        raise Broken("the plan role was asked for its isolation")

    async def is_over(self, run: str) -> bool:
        """Never."""
        raise Broken(f"the plan role was asked after the processes of run {run}")


def _runner(settings: Settings) -> AnsibleRunner:
    runner = AnsibleRunner(settings.runner, data_dir=settings.data_dir, credentials=settings.credentials)
    runner.clear()
    threading.Thread(target=compile_missing, daemon=True).start()
    return runner


async def _beat(store: Store, worker: Worker, seat: Seat, planner: TieredPlanner | None) -> None:
    counts, vectors = asdict(worker.counts), store.memory.vectors
    if planner is not None:
        counts["planner"] = planner.tally.view()
    if vectors is not None and Role.PLAN in seat.who.roles.split():
        counts["embedder_up"] = int(bool(vectors.is_up))
    await seat.beat(counts)
