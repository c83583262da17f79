"""Two executors with data directories of their own on one database: each runs what lies at its site, and nothing else.

They work under the executor's own database role, were started by hand with secrets around them, and listen on no port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from receiver.adapters.store import narrow
from receiver.demo import cards, files, rig
from receiver.domain.case import Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import Retry
from receiver.starter import dsn_for, instance_id, os_user

SITES = {"demo": "DemoQueueStuck", "lab": "DemoWebDown"}
STRANGE = {"AWS_SECRET_ACCESS_KEY": "canary-a", "ANTHROPIC_API_KEY": "canary-b", "GITMEDIC_SOURCES": "[]"}


def url_of(dsn: str, **other: str) -> str:
    """The address of a database as settings have it."""
    said = conninfo_to_dict(dsn) | other
    user, password = quote(str(said["user"])), quote(str(said["password"]), safe="")
    asked = urlencode({key: said[key] for key in ("host", "port") if key in said})
    return f"postgresql://{user}:{password}@/{said['dbname']}?{asked}"


class Executor:
    """`gitmedic work --role execute --site …` as on another machine: its own directory, the database, and git."""

    def __init__(self, running: rig.Rig, site: str, password: str) -> None:
        self.site, self.data = site, running.place / f"executor-{site}"
        self.data.mkdir(mode=0o700)
        url = url_of(dsn_for(running.settings), user="gitmedic_executor", password=password)
        text = f"database.url = {url!r}\nrepo.url = 'file://{running.settings.repo.path}'\n"
        (self.data / "gitmedic.toml").write_text(text)
        (self.data / "gitmedic.toml").chmod(0o600)
        self.arguments = ["work", "--role", "execute", "--site", site, "--data-dir", str(self.data)]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "receiver", *self.arguments]
        with (self.data / "log").open("ab") as out:
            return subprocess.Popen(argv, env=os.environ | STRANGE, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def command(self, *more: str) -> tuple[int, str]:
        """The same command with more words, to its end."""
        argv = [sys.executable, "-m", "receiver", *self.arguments, *more]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    @property
    def log(self) -> str:
        return (self.data / "log").read_text()


@contextlib.asynccontextmanager
async def two_sites(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[rig.Rig, dict[str, Executor]]]:
    usual = files.ops_files

    def apart(place: Path, person: str) -> dict[str, bytes]:
        found = usual(place, person)
        inventory = yaml.safe_load(found["inventory/hosts.yml"])
        inventory["all"]["hosts"]["demo-web"]["gitmedic"]["site"] = "lab"
        policy = yaml.safe_load(found["policy.yml"])
        policy["isolation"]["none_allowed"].append("lab")
        return found | {"inventory/hosts.yml": yaml.dump(inventory).encode(), "policy.yml": yaml.dump(policy).encode()}

    monkeypatch.setattr(files, "ops_files", apart)
    async with rig.running(simulated=True, say=lambda text: None) as running:
        async with running.office.store.pool.connection() as connection:
            password = (await narrow.create(connection))["gitmedic_executor"]
        executors = {site: Executor(running, site, password) for site in SITES}
        try:
            yield running, executors
        finally:
            for one in executors.values():
                one.process.kill()
                one.process.wait()
    rig.clean(lambda text: None, only=running.place)


async def walked(running: rig.Rig, alertname: str) -> Closed:
    """The case of this alert, approved on its way, at its end."""
    is_approved = False
    async with asyncio.timeout(240):
        while True:
            with contextlib.suppress(Retry, psycopg.Error):
                archive = running.office.store.archive
                page = await archive.cases(limit=1, cursor=None, filters={"alertname": alertname})
                found = await archive.stored(page.items[0]["id"]) if page.items else None
                if isinstance(found, Closed):
                    return found
                if isinstance(found, Proposed) and not is_approved:
                    policy = (await running.office.repo.revision(found.revision)).policy
                    person = next(one for one in policy.people if os_user() in one.os)
                    head = found.proposal.head_sha
                    await running.office.doors.approve(found.id, head_sha=head, person=person, via="terminal")
                    is_approved = True
            await asyncio.sleep(0.1)


async def instances(running: rig.Rig, case: Closed) -> set[str]:
    """Whose directories the case's dry run and run happened in."""
    async with running.office.store.pool.connection() as connection:
        found = await connection.execute("SELECT instance FROM attempts WHERE case_id = %s", (case.id,))
        return {row[0] for row in await found.fetchall()}


def listening(pid: int) -> list[str]:
    """Sockets of a process that accept connections from anywhere."""
    mine = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [
        line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in mine]


async def alive(executor: Executor) -> None:
    async with asyncio.timeout(180):
        while (await asyncio.to_thread(executor.command, "--health"))[0]:
            assert executor.process.poll() is None, executor.log
            await asyncio.sleep(0.2)


@pytest.mark.anyio
async def test_each_executor_runs_what_lies_at_its_site(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_sites(monkeypatch) as (running, executors):
        for one in executors.values():
            await alive(one)
            pid = one.process.pid
            known = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"canary" not in known and b"GITMEDIC_SOURCES" not in known and b"PATH=" in known
            assert listening(pid) == []
        code, words = await asyncio.to_thread(executors["lab"].command)
        assert code == 7 and "has this name and lives" in words, words
        cards.jam_queue(running.place)
        cards.kill_web(running.place)
        for site, closed in zip(
            SITES, await asyncio.gather(*[walked(running, name) for name in SITES.values()]), strict=True
        ):
            assert closed.outcome in (Outcome.FIXED, Outcome.NOT_FIXED), (closed.why, executors[site].log)
            assert await instances(running, closed) == {instance_id(executors[site].data)}
        page = await running.office.store.heartbeats.snapshot()
        assert {row["name"]: row["executors"] for row in page["sites"]} == {"demo": 1, "lab": 1}
        one = executors["lab"]
        one.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(one.process.wait, 30) == 0, one.log
        code, words = await asyncio.to_thread(one.command, "--health")
        assert code == 1 and "ended" in words, words
