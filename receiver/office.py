"""The office: everything that is kept, what was approved, the forge, and the acts of people.

open_store   what happened                       for every command
open_office  and what was approved, and people   for those who decide
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg_pool import AsyncConnectionPool

from receiver.adapters.embedder.openai import OpenAIEmbedder
from receiver.adapters.notify.log import LogNotifier
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.runs import RunRepository
from receiver.adapters.signature.sshsig import SshSignatures
from receiver.adapters.store.access import PostgresAccess
from receiver.adapters.store.archive import PostgresArchive
from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.deliveries import PostgresDeliveries
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.heartbeat import Heartbeats
from receiver.adapters.store.inbox import PostgresInbox
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.locks import PostgresLocks
from receiver.adapters.store.memory import PostgresMemory
from receiver.adapters.store.notebook import PostgresNotebook
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.resolutions import PostgresResolutions
from receiver.adapters.store.runs import PostgresRuns
from receiver.adapters.store.schedules import PostgresSchedules
from receiver.adapters.store.seats import Seats
from receiver.adapters.store.sites import PostgresSites
from receiver.adapters.store.vectors import Vectors
from receiver.aftermath import Aftermath
from receiver.agenda import Agenda
from receiver.config import Settings
from receiver.domain.quorum import NAMESPACE
from receiver.doors import Doors
from receiver.forges import open_places, remote_of, upstream_of
from receiver.places import Places
from receiver.ports import Forge
from receiver.starter import dsn_for


class SystemClock:
    """The Clock port: this machine's time."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class Store:
    """Everything that is kept in PostgreSQL."""

    pool: AsyncConnectionPool[Any]
    access: PostgresAccess
    archive: PostgresArchive
    desk: PostgresDesk
    ledger: PostgresLedger
    cases: PostgresCases
    runs: PostgresRuns
    resolutions: PostgresResolutions
    locks: PostgresLocks
    memory: PostgresMemory
    notebook: PostgresNotebook
    inbox: PostgresInbox
    deliveries: PostgresDeliveries
    heartbeats: Heartbeats
    seats: Seats
    sites: PostgresSites
    schedules: PostgresSchedules


@dataclass(frozen=True)
class Office:
    """The store, the ops repository, the places that take run files, and the acts of people."""

    settings: Settings
    store: Store
    repo: OpsRepository
    places: Places
    runs: tuple[RunRepository, ...]  #: of the places beside the catalog's repository
    doors: Doors
    aftermath: Aftermath
    agenda: Agenda

    @property
    def forge(self) -> Forge:
        """The catalog's."""
        return self.places.main.forge


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of a data directory whose database runs."""
    async with open_pool(dsn_for(settings)) as pool, _vectors(settings, pool) as vectors:
        drop = {source.name: frozenset(source.drop_labels) for source in settings.sources}
        yield Store(
            pool=pool,
            access=PostgresAccess(pool),
            archive=PostgresArchive(pool),
            desk=PostgresDesk(pool),
            ledger=PostgresLedger(pool),
            cases=PostgresCases(pool, lease_seconds=settings.worker.lease_seconds),
            runs=PostgresRuns(pool),
            resolutions=PostgresResolutions(pool),
            locks=PostgresLocks(pool),
            memory=PostgresMemory(pool, vectors),
            notebook=PostgresNotebook(pool),
            inbox=PostgresInbox(pool, drop_labels=drop),
            deliveries=PostgresDeliveries(pool),
            heartbeats=Heartbeats(pool),
            seats=Seats(pool),
            sites=PostgresSites(pool),
            schedules=PostgresSchedules(pool),
        )


@asynccontextmanager
async def _vectors(settings: Settings, pool: AsyncConnectionPool[Any]) -> AsyncIterator[Vectors | None]:
    """With an embedder, what it adds to recall."""
    chosen = settings.memory.embedder
    if not chosen.base_url:
        yield None
        return
    embedder = OpenAIEmbedder(chosen)
    try:
        yield Vectors(pool, embedder, batch=chosen.batch, least_similarity=chosen.least_similarity)
    finally:
        await embedder.aclose()


@asynccontextmanager
async def open_office(settings: Settings, *, may_make: bool = True) -> AsyncIterator[Office]:
    """The office of a data directory that was initialised; `may_make`: this machine may be where places lie."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        dialect = remote_of(settings)
        if dialect is not None:
            stack.push_async_callback(dialect.aclose)
        repo = OpsRepository(settings.repo, store.ledger.adopted, upstream_of(settings, dialect))
        stack.push_async_callback(repo.close)
        places, runs = await stack.enter_async_context(
            open_places(settings, store.pool, repo, dialect, may_make=may_make)
        )
        doors = Doors(
            archive=store.archive, desk=store.desk, places=places, repo=repo, signatures=SshSignatures(NAMESPACE),
            acceptances=store.desk, clock=SystemClock(),
        )  # fmt: skip
        agenda = Agenda(
            repo=repo, book=store.schedules, ledger=store.ledger, gate=store.ledger, notifier=LogNotifier()
        )  # fmt: skip
        aftermath = Aftermath(
            archive=store.archive, logs=store.archive, desk=store.desk, repo=repo, resolutions=store.resolutions,
            clock=SystemClock(),
        )  # fmt: skip
        yield Office(
            settings=settings, store=store, repo=repo, places=places, runs=runs, doors=doors, agenda=agenda,
            aftermath=aftermath,
        )  # fmt: skip
