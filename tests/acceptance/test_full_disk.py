"""A full disk under `gitmedic up`: 503 while it is full, nothing acknowledged is lost, and no help by hand (P1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
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

from receiver.adapters.store.access import PostgresAccess
from receiver.adapters.store.pool import open_pool
from tests.machine import free_port, private_tmpfs

MEGABYTES = 300
#: of one alert in all, so that each needs new space and not what a page has left
NOISE_BYTES = 60_000
FULL_SECONDS = 12.0
CONFIG = '[web]\nlisten = "127.0.0.1:{port}"\n[[sources]]\nname = "prom"\nkind = "webhook"\n'


class Disk:
    """`gitmedic up` on a small disk of its own, in a mount namespace that ends with it."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.url = place, f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "receiver", "up", "--data-dir", str(place / "data")]
        # the log lies on the same disk, as it often does
        script = (
            f"mkdir {place}/data && printf '%s' \"$CONFIG\" > {place}/data/gitmedic.toml"
            f' && exec "$@" 2>> {place}/up.log'
        )
        self.up = subprocess.Popen(
            [*private_tmpfs(place, MEGABYTES), "sh", "-c", script, "sh", *argv],
            env={**os.environ, "CONFIG": CONFIG.format(port=port)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._ballast: asyncio.Task[None] | None = None

    @property
    def seen(self) -> Path:
        """The small disk from outside its namespace."""
        return Path(f"/proc/{self.up.pid}/root{self.place}")

    def dsn(self) -> str:
        password = (self.seen / "data/postgres.password").read_text()
        return f"host={self.seen}/data/socket user=gitmedic password={password} dbname=gitmedic"

    def kill_postgres(self) -> None:
        os.kill(int((self.seen / "data/postgres/postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)

    def log(self) -> str:
        return (self.seen / "up.log").read_text(errors="replace")

    async def fill(self) -> None:
        """Full, and kept full: what PostgreSQL gives back is taken as well."""
        self._ballast = asyncio.create_task(self._keep_full())
        while shutil.disk_usage(self.seen).free:
            await asyncio.sleep(0.01)

    async def _keep_full(self) -> None:
        with (self.seen / "ballast").open("ab", buffering=0) as ballast:
            while True:
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(min(shutil.disk_usage(self.seen).free, 1 << 20) or 4096)):
                        pass
                await asyncio.sleep(0.05)

    async def free(self) -> None:
        assert self._ballast is not None
        self._ballast.cancel()
        await asyncio.gather(self._ballast, return_exceptions=True)
        (self.seen / "ballast").unlink()

    async def ready(self) -> None:
        async with asyncio.timeout(90), httpx.AsyncClient(trust_env=False) as http:
            while await status(http, f"{self.url}/readyz") != 200:
                assert self.up.poll() is None, "up ended by itself"
                await asyncio.sleep(0.1)


async def status(http: httpx.AsyncClient, url: str) -> int:
    with contextlib.suppress(httpx.HTTPError):
        return (await http.get(url, timeout=5)).status_code
    return 0


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    place = Path(tempfile.mkdtemp(prefix="gitmedic-test-", dir="/var/tmp"))
    place.chmod(0o755)
    try:
        started = Disk(place, free_port())
        try:
            await started.ready()
            yield started
        finally:
            started.up.send_signal(signal.SIGTERM)
            await asyncio.to_thread(started.up.wait, 60)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Sender:
    """Posts one large alert after the other and keeps what each was answered."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._url = f"{url}/alertmanager/prom"
        self.http = httpx.AsyncClient(trust_env=False, timeout=30, headers=headers)
        self.acknowledged: set[str] = set()
        self._count = 0

    async def post(self) -> int:
        self._count += 1
        name = f"A{self._count}"
        alert = {
            "status": "firing",
            "labels": {"alertname": name},
            "annotations": {f"noise{number}": os.urandom(NOISE_BYTES // 8).hex() for number in range(4)},
            "startsAt": datetime.now(UTC).isoformat(),
        }
        answer = await self.http.post(self._url, content=json.dumps({"alerts": [alert]}).encode())
        if answer.status_code == 200:
            assert answer.json() == {"alerts": 1, "new": 1, "unreadable": 0}
            self.acknowledged.add(name)
        return answer.status_code


@pytest.mark.anyio
@pytest.mark.parametrize("ends", ["postgres lives", "postgres dies"])
async def test_a_full_disk_loses_nothing_and_heals(disk: Disk, ends: str) -> None:
    async with open_pool(disk.dsn()) as pool:
        token = await PostgresAccess(pool).create_token("prom", "alerts:write", created_by="os:test")
    sender = Sender(disk.url, token)
    assert [await sender.post() for _ in range(20)] == [200] * 20
    await disk.fill()
    async with asyncio.timeout(60):
        while await sender.post() == 200:  # what still found room is stored, and is checked below
            pass
    if ends == "postgres dies":  # and cannot be started while there is no room
        disk.kill_postgres()
    loop = asyncio.get_running_loop()
    answers, ready, end = [], [], loop.time() + FULL_SECONDS
    while loop.time() < end:
        answers.append(await sender.post())
        ready.append(await status(sender.http, f"{disk.url}/readyz"))
    assert set(answers) == {503} and set(ready) == {503}
    await disk.free()
    await disk.ready()
    assert [await sender.post() for _ in range(20)] == [200] * 20
    await sender.http.aclose()
    with psycopg.connect(disk.dsn(), autocommit=True) as connection:
        stored = {row[0] for row in connection.execute("SELECT labels->>'alertname' FROM alerts").fetchall()}
    assert len(sender.acknowledged) >= 40
    assert sender.acknowledged - stored == set()
    async with asyncio.timeout(20):  # the log lay on it as well: what could not be written is said afterwards
        while f"the disk of {disk.place}/data is full" not in disk.log():
            await asyncio.sleep(0.2)
    assert disk.up.poll() is None
