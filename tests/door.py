"""The front door in this process, over a real PostgreSQL and a real ops repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from psycopg.rows import dict_row

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.store.pulse import PostgresPulse
from receiver.config import explained, load
from receiver.domain.case import Proposed
from receiver.domain.finding import Finding
from receiver.domain.outcome import Role, Verdict
from receiver.enlisting import Enlisting
from receiver.office import Office, SystemClock, open_office
from receiver.pipeline import Ports, advance, event_of, role_of
from receiver.ports import Receipt
from receiver.previewing import previews
from receiver.testing.outside import FakeFacts, FakeNotifier, FakeProof, FakeRunner
from receiver.testing.repo import FakeSignatures
from receiver.web import server
from receiver.web.app import create_app
from receiver.web.hooks.commit import GroupCommit
from receiver.web.notices import Notices
from receiver.web.parts import Parts
from tests.unit.test_pipeline import FILES, alert

URL = "http://127.0.0.1:8090"
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}\"'><img src=x onerror=alert(1)>"


@dataclass
class Door:
    """A client, and what is behind."""

    http: httpx.AsyncClient
    office: Office
    counted: list[int]
    app: Any

    async def token(self, scope: str, source: str = "") -> dict[str, str]:
        """Headers of a fresh token."""
        name = f"{scope}-{source}-{len(await self.office.store.access.list_tokens())}"
        secret = await self.office.store.access.create_token(name, scope, source=source, created_by="os:test")
        return {"Authorization": f"Bearer {secret}"}

    async def session(self, person: str) -> httpx.AsyncClient:
        """A browser of this person."""
        browser = httpx.AsyncClient(transport=self.http._transport, base_url=URL, headers={"Origin": URL})
        link = await self.office.store.access.create_setup_link(person)
        answer = await browser.get("/setup", params={"t": link})
        assert answer.status_code == 303
        return browser

    async def open_cases(self) -> None:
        """What the plan role does as it looks for work."""
        while await self.office.store.cases.open_stored():
            pass

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Straight from the database."""
        async with self.office.store.pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(query)  # type: ignore[arg-type]
            return await cursor.fetchall()


@asynccontextmanager
async def opened(database: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Sources `prom` and `other`, people `anna` and `guest`."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "gitmedic.toml").write_text(
        '[[sources]]\nname = "prom"\nkind = "webhook"\n[[sources]]\nname = "other"\nkind = "webhook"\n'
    )
    url = "postgresql:///?" + "&".join(database.split(" "))
    settings = load(data, environment={"GITMEDIC_DATABASE__URL": url})
    commit = create_ops_repository(settings.repo.path, FILES, "anna <anna@localhost>")
    counted: list[int] = []

    def count(status: int, receipt: Receipt | None, seconds: float) -> None:
        counted.append(status)

    async def page() -> bytes:
        return b""

    async def checks() -> list[Finding]:
        return [Finding(status="warn", what="disk", found="1 MiB", fix="free some space")]

    async def waiting() -> int:
        return 0

    pulse = PostgresPulse(url)
    async with open_office(settings) as office:
        store = office.store
        await store.desk.adopt(commit, old=None, digest="", actor="os:test")
        await store.ledger.appear("test")
        parts = Parts(
            commit=GroupCommit(store.inbox), access=store.access, archive=store.archive, logs=store.archive,
            doors=office.doors, agenda=office.agenda, timetables=store.schedules, repo=office.repo, pulse=pulse,
            aftermath=office.aftermath, notices=Notices(office.repo, waiting),
            ready=store.heartbeats.ready, metrics=page,
            counted=count, sources=("prom", "other"), locks=store.locks.all, queue=store.locks.waiting,
            settings=lambda: explained(settings, {}),
            preview=lambda body, source: previews(settings, office, body, source),
            checks=checks, repository=str(settings.repo.path), roster=Enlisting(office),
        )  # fmt: skip
        app = create_app(parts)
        writer = asyncio.create_task(parts.commit.run())
        beating = asyncio.create_task(pulse.run())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=URL) as http:
            yield Door(http=http, office=office, counted=counted, app=app)
        writer.cancel()
        beating.cancel()
        await asyncio.gather(writer, beating, return_exceptions=True)


@asynccontextmanager
async def serving(
    door: Door, port: int = 0, **given: Any
) -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Task[None]]]:
    """The door's parts behind uvicorn; its address, its stop event, its task."""
    store, stop = door.office.store, asyncio.Event()

    async def metrics() -> bytes:
        return b""

    parts = replace(
        door.app.state.parts, commit=GroupCommit(store.inbox), metrics=metrics, counted=lambda *_: None,
        sources=("prom",), stop=stop, **given,
    )  # fmt: skip
    listening = server.bind("127.0.0.1", port)
    listening.listen()  # so that nobody is turned away before the server has begun
    running = asyncio.create_task(server.run(create_app(parts), listening, stop))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", stop, running
    finally:
        stop.set()
        await running


async def proposed(door: Door, **labels: str) -> Proposed:
    """A case taken to its proposal by the real stages; source and host are played."""
    given = alert(**labels).model_copy(update={"starts_at": datetime.now(UTC) - timedelta(seconds=5)})
    store, clock = door.office.store, SystemClock()
    body = {"status": "firing", "labels": given.labels, "startsAt": given.starts_at.isoformat(),
            "annotations": {"summary": HOSTILE}}  # fmt: skip
    headers = await door.token("alerts:write")
    await door.http.post("/alertmanager/prom", json={"alerts": [body]}, headers=headers)
    proof = FakeProof()
    proof.verdict = Verdict.STILL_FIRING
    ports = Ports(
        clock=clock, ledger=store.ledger, chronicle=store.ledger, gate=store.ledger, runs=store.runs, steps=store.runs,
        locks=store.locks,
        repo=door.office.repo, places=door.office.places,
        signatures=FakeSignatures(), proof=proof,
        facts=FakeFacts(clock), memory=store.memory, planner=RulesPlanner(),
        runner=FakeRunner(clock), notifier=FakeNotifier(), instance="test",
    )  # fmt: skip
    await door.open_cases()
    while True:
        lease = await store.cases.claim((Role.PLAN, Role.EXECUTE), "test")
        assert lease is not None
        if isinstance(lease.case, Proposed):
            await store.cases.put_off(lease, at=None, after_seconds=3600, why="needs you")
            return lease.case
        following = await advance(lease.case, ports)
        await store.cases.save(lease, following, [event_of(following)], role=role_of(following))
