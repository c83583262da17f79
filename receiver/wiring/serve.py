"""The server, put together: it holds no credential for hosts and has no runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from receiver.adapters.demo.cards import FileCards
from receiver.adapters.forge.secret import webhook_secret
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.store.heartbeat import Heartbeats
from receiver.adapters.store.migrate import check_schema
from receiver.adapters.store.pulse import PostgresPulse
from receiver.adapters.store.space import check_space
from receiver.adapters.telemetry.metrics import Metrics, Snapshot
from receiver.config import Settings, explained
from receiver.doctor import examine
from receiver.enlisting import Enlisting
from receiver.errors import Retry
from receiver.office import Office, Store, open_office
from receiver.ports import Receipt
from receiver.previewing import previews
from receiver.starter import dsn_for, instance_id
from receiver.web import server
from receiver.web.app import create_app
from receiver.web.hooks.commit import GroupCommit
from receiver.web.notices import Notices
from receiver.web.parts import Hooked, Parts
from receiver.wiring.process import VERSION, check_at_home, stop_on_signals


async def serve(settings: Settings) -> None:
    """The server, until a signal: hooks, API and pages."""
    stop = stop_on_signals()
    check_at_home(settings, "the server")
    listening = server.bind(settings.web.host, settings.web.port)
    async with open_office(settings) as office:
        store = office.store
        names = tuple(source.name for source in settings.sources)
        await check_schema(store.pool)
        await store.inbox.connect(names)
        await store.ledger.appear(instance_id(settings.data_dir))
        metrics = Metrics()
        pulse = PostgresPulse(dsn_for(settings))
        listening_to = asyncio.create_task(pulse.run())
        parts = Parts(
            commit=GroupCommit(store.inbox),
            access=store.access,
            archive=store.archive,
            logs=store.archive,
            doors=office.doors,
            agenda=office.agenda,
            timetables=store.schedules,
            aftermath=office.aftermath,
            repo=office.repo,
            notices=Notices(
                office.repo,
                lambda: _waiting(office.repo),
                is_demo=settings.demo,
                sites=store.sites,
                unsettled=store.resolutions.waiting,
                gate=store.ledger,
            ),
            pulse=pulse,
            ready=lambda: _ready(settings, store),
            metrics=lambda: _metrics_page(metrics, store.heartbeats),
            counted=_counter(metrics),
            sources=names,
            locks=store.locks.all,
            queue=store.locks.waiting,
            checks=lambda: examine(settings, lambda: nullcontext(office.repo)),
            settings=lambda: explained(settings),
            preview=lambda body, source: previews(settings, office, body, source),
            url=settings.web.url,
            repository=str(settings.repo.path),
            roster=Enlisting(office),
            playground=FileCards(settings.data_dir) if settings.demo else None,
            new_token=lambda name, actor: store.access.create_token(name, "alerts:write", created_by=actor),
            hosts=settings.web.names,
            version=VERSION,
            hooked=_hooked(settings, office, metrics),
            stop=stop,
        )
        try:
            await server.run(create_app(parts), listening, stop)
        finally:
            listening_to.cancel()
            await asyncio.gather(listening_to, return_exceptions=True)


def _hooked(settings: Settings, office: Office, metrics: Metrics) -> tuple[Hooked, ...]:
    """The repositories whose webhooks are listened to."""
    forges = {name: settings.at(name).forge for name in ("", *settings.places)}
    return tuple(
        Hooked(
            kind=forges[place.name].kind,
            repository=place.repository,
            key=place.key,
            secret=partial(webhook_secret, forges[place.name]),
            deliveries=office.store.deliveries,
            counted=lambda what: metrics.forge_hooks.labels(what).inc(),
        )
        for place in office.places.all
        if forges[place.name].is_remote
    )


async def _waiting(repo: OpsRepository) -> int:
    return len(await repo.pending(await repo.adopted()))


async def _ready(settings: Settings, store: Store) -> None:
    """A small test row finds room on a full disk where an alert does not: so the room itself is asked, too."""
    if settings.embedded:
        check_space(settings.data_dir)
    await store.heartbeats.ready()


async def _metrics_page(metrics: Metrics, heartbeats: Heartbeats) -> bytes:
    try:
        found = await heartbeats.snapshot()
    except Retry:
        return metrics.render(None)
    return metrics.render(Snapshot(**found))


def _counter(metrics: Metrics) -> Callable[[int, Receipt | None, float], None]:
    def count(status: int, receipt: Receipt | None, seconds: float) -> None:
        metrics.posts.labels(str(status)).inc()
        if receipt is not None:
            metrics.alerts.inc(receipt.alerts)
            metrics.unreadable.inc(receipt.unreadable)
            metrics.commit_seconds.observe(seconds)

    return count
