"""The front door in this process, over a real PostgreSQL and a real ops repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.rows import dict_row

from receiver.adapters.repo.creation import create_ops_repository
from receiver.config import load
from receiver.ports import Receipt
from receiver.web.app import create_app
from receiver.web.hooks.commit import GroupCommit
from receiver.web.parts import Parts
from receiver.wiring import Office, open_office
from tests.unit.test_pipeline import FILES

URL = "http://127.0.0.1:8090"


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

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Straight from the database."""
        async with self.office.store.pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(query)  # type: ignore[arg-type]
            return await cursor.fetchall()


@pytest.fixture
async def door(database: str, tmp_path: Path) -> AsyncIterator[Door]:
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

    async with open_office(settings) as office:
        store = office.store
        await store.desk.adopt(commit, old=None, digest="", actor="os:test")
        await store.ledger.appear("test")
        parts = Parts(
            commit=GroupCommit(store.inbox), access=store.access, archive=store.archive, doors=office.doors,
            repo=office.repo, ready=store.heartbeats.ready, metrics=page, counted=count, sources=("prom", "other"),
        )  # fmt: skip
        app = create_app(parts)
        writer = asyncio.create_task(parts.commit.run())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=URL) as http:
            yield Door(http=http, office=office, counted=counted, app=app)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
