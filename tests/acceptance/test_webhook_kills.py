"""SIGKILL of the server and of PostgreSQL under load: whatever was answered 200 is there (promise P1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.adapters.store.migrate import migrate
from receiver.config import load
from receiver.office import open_store
from receiver.starter import begin, prepare
from tests.machine import free_port

KILLS = 20
CONNECTIONS = 8
CONFIG = '[web]\nlisten = "127.0.0.1:{port}"\n[[sources]]\nname = "prom"\nkind = "webhook"\n'


class Server:
    """PostgreSQL owned by this process, and `gitmedic serve` as a child."""

    def __init__(self, data: Path, port: int) -> None:
        self.data, self.url = data, f"http://127.0.0.1:{port}"
        self.postgres = EmbeddedPostgres(data)
        self._serve: subprocess.Popen[bytes] | None = None

    def start_serve(self) -> None:
        with (self.data / "serve.log").open("ab") as log:
            argv = [sys.executable, "-m", "receiver", "serve", "--data-dir", str(self.data)]
            self._serve = subprocess.Popen(argv, stdout=log, stderr=log)

    async def ready(self) -> None:
        async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as http:
            while True:
                if self._serve is not None and self._serve.poll() is not None:
                    self.start_serve()
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"{self.url}/readyz", timeout=2)).status_code == 200:
                        return
                await asyncio.sleep(0.05)

    async def kill(self, what: str) -> None:
        if what == "serve":
            assert self._serve is not None
            self._serve.kill()
            await asyncio.to_thread(self._serve.wait)
            self.start_serve()
        else:
            assert self.postgres.pid is not None
            os.kill(self.postgres.pid, signal.SIGKILL)
            while self.postgres.is_running():
                await asyncio.sleep(0.01)
            await self.postgres.start()

    async def stop(self) -> None:
        if self._serve is not None:
            self._serve.terminate()
            await asyncio.to_thread(self._serve.wait)
        await self.postgres.stop()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    place = Path(tempfile.mkdtemp(prefix="gitmedic-test-", dir="/var/tmp"))
    place.chmod(0o755)
    data = place / "data"
    port = free_port()
    data.mkdir()
    (data / "gitmedic.toml").write_text(CONFIG.format(port=port))
    prepare(data)
    started = Server(data, port)
    await started.postgres.start()
    await migrate(started.postgres.dsn())
    begin(load(data, environment={}))
    started.start_serve()
    try:
        await started.ready()
        yield started
    finally:
        await started.stop()
        shutil.rmtree(place, ignore_errors=True)


class Load:
    """Clients that post one alert each, again until it is acknowledged."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self.acknowledged: list[str] = []
        self.in_flight = 0
        self.stop = False

    async def client(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:
            count = 0
            while not self.stop:
                name = f"A{number}-{count}"
                alert = {"status": "firing", "labels": {"alertname": name}, "startsAt": datetime.now(UTC).isoformat()}
                if await self._post(http, json.dumps({"alerts": [alert]}).encode()):
                    self.acknowledged.append(name)
                    count += 1
                else:
                    await asyncio.sleep(0.02)

    async def _post(self, http: httpx.AsyncClient, body: bytes) -> bool:
        self.in_flight += 1
        try:
            return (await http.post(f"{self._url}/alertmanager/prom", content=body)).status_code == 200
        except httpx.HTTPError:
            return False
        finally:
            self.in_flight -= 1


@pytest.mark.anyio
async def test_nothing_acknowledged_is_lost(server: Server) -> None:
    async with open_store(load(server.data, environment={})) as store:
        token = await store.access.create_token("prom", "alerts:write", created_by="os:test")
    load_ = Load(server.url, token)
    clients = [asyncio.create_task(load_.client(number)) for number in range(CONNECTIONS)]
    chance = random.Random(7)
    in_flight = 0
    for number in range(KILLS):
        seen = len(load_.acknowledged)
        async with asyncio.timeout(60):
            while len(load_.acknowledged) < seen + 20:
                await asyncio.sleep(0.01)
        await asyncio.sleep(chance.random() * 0.05)
        in_flight += load_.in_flight > 0
        await server.kill("postgres" if number % 4 == 3 else "serve")
        await server.ready()
    load_.stop = True
    await asyncio.gather(*clients)
    assert in_flight >= 5, "the kills missed every commit"
    with psycopg.connect(server.postgres.dsn(), autocommit=True) as connection:
        rows = connection.execute("SELECT labels->>'alertname' FROM alerts").fetchall()
        twice = connection.execute(
            "SELECT count(*) - count(DISTINCT (source, fingerprint, starts_at)) FROM alerts"
        ).fetchone()
    stored = {row[0] for row in rows}
    lost = set(load_.acknowledged) - stored
    assert len(load_.acknowledged) > KILLS * 20
    assert lost == set(), f"{len(lost)} of {len(load_.acknowledged)} acknowledged alerts are lost"
    assert twice == (0,)
