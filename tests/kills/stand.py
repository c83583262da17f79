"""One installation for one cell of the table: a database of its own, an ops repository, real processes, one target.

The target is a folder. The run adds a line to a file in it, so that a second run is seen by what it does and not by
what a table says; an alert stands for "there is no line yet", and a metrics page of the test says so.
"""

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
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import psycopg

from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.adapters.store.migrate import migrate
from receiver.config import Settings, load
from receiver.errors import Unavailable
from receiver.office import Office, open_office
from receiver.starter import os_user, prepare
from tests.kills.role import GO, REACHED
from tests.machine import free_port, quick_folder
from tests.targets.exporter import page

ROOT = Path(__file__).parents[2]
TEMPLATE = "gitmedic_template"
SOURCE, ALERT, HOST, SITE = "probe", "KillNeeded", "target", "kills"
#: a killed worker's case is free again after so long
LEASE_SECONDS = 1.0
#: where the database is killed and its workers live: they find it again after up to so long
LONG_LEASE_SECONDS = 8.0
_PLAYBOOK = """- name: Leave a line
  hosts: targets
  gather_facts: false
  tasks:
    - name: Leave a line
      ansible.builtin.lineinfile:
        path: "{{ gm_path }}/lines"
        line: "{{ now(fmt='%H:%M:%S.%f') }}"
        create: true
        mode: "0600"
"""
_GATE = """
    - name: Wait at the gate
      ansible.builtin.slurp:
        src: "{{ gm_path }}/gate"
"""
_CATALOG = """schema: 1
title: Leave a line
use_when: there is none
not_when: there is one
effect: change
risk: low
handles:
  - match: 'alertname="KillNeeded"'
    bind: {host: host, path: target.path}
params:
  type: object
  additionalProperties: false
  required: [host, path]
  properties:
    host: {type: string, x-kind: host}
    path: {type: string, x-kind: path}
targets: {param: host, max_hosts: 1, serial: 1}
scope: own
locks: [host]
limits: {timeout_seconds: 60, memory_mb: 512, output_mb: 5}
reversible: yes
publish_diff: yes
quality: {check_mode: done, idempotent: done, verify: done, rollback: exempt, real_target_test: done, runbook: done}
"""


class Forks:
    """The process whose children are the roles; they end with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.role"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self._lock = threading.Lock()

    def start(self, order: dict[str, Any]) -> int:
        """One more child; gives its pid."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return int(json.loads(self._process.stdout.readline())["pid"])

    def close(self) -> None:
        """All of them end."""
        self._process.communicate(timeout=20)


@contextlib.contextmanager
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL with the migrated template; what it has answered is in its files, whoever kills it."""
    folder = Path(tempfile.mkdtemp(prefix="gitmedic-kills-", dir=quick_folder()))
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder / "data")
    asyncio.run(_begin(postgres))
    try:
        yield postgres
    finally:
        asyncio.run(postgres.stop())
        shutil.rmtree(folder, ignore_errors=True)


async def _begin(postgres: EmbeddedPostgres) -> None:
    await postgres.start()
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    with psycopg.connect(postgres.dsn(TEMPLATE), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    await migrate(postgres.dsn(TEMPLATE))


@dataclass
class Stand:
    """One cell's installation."""

    place: Path
    settings: Settings
    office: Office
    postgres: EmbeddedPostgres
    forks: Forks
    dice: random.Random
    living: dict[str, list[int]] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        """What the run changes."""
        return self.place / "target"

    def lines(self) -> int:
        """How often a run has changed it."""
        file = self.target / "lines"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def start(self, role: str, point: str = "") -> None:
        """A process of this role, which stops at the point if one is named."""
        words = ["serve"] if role == "serve" else ["work", "--role", role]
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "USER") if name in os.environ}
        told = {"GITMEDIC_DATA_DIR": str(self.settings.data_dir), "GITMEDIC_LISTEN": self.settings.web.listen}
        order = {
            "arguments": words, "environment": keep | told, "log": str(self.place / "log"), "point": point,
            "folder": str(self.place),
        }  # fmt: skip
        self.living.setdefault(role, []).append(self.forks.start(order))

    def kill(self, role: str) -> None:
        """All processes of this role, at once and without a word."""
        for pid in self.living.pop(role, []):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def restart_postgres(self) -> None:
        """Killed, away for a moment, started again as `up` does it."""
        pid = self.postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.postgres.is_running():
            await asyncio.sleep(0.01)
        await asyncio.sleep(self.dice.uniform(0, 0.2))
        await self.postgres.start()

    async def reached(self) -> None:
        """A process stands at its point."""
        while not (self.place / REACHED).exists():
            await asyncio.sleep(0.01)

    def go(self) -> None:
        """It may go on."""
        (self.place / GO).touch()

    def close_gate(self) -> None:
        """The next run that comes to the gate waits there."""
        os.mkfifo(self.target / "gate.new")
        (self.target / "gate.new").replace(self.target / "gate")

    async def at_gate(self) -> int:
        """A run waits there; gives what to close to let it through."""
        while True:
            with contextlib.suppress(OSError):  # nobody reads it yet
                if (self.target / "gate").is_fifo():
                    return os.open(self.target / "gate", os.O_WRONLY | os.O_NONBLOCK)
            await asyncio.sleep(0.01)

    def open_gate(self) -> None:
        """Later runs pass."""
        (self.target / "gate.new").write_text("open")
        (self.target / "gate.new").replace(self.target / "gate")

    def alert(self) -> bytes:
        """What Alertmanager would send."""
        labels = {"alertname": ALERT, "host": HOST, "severity": "warning"}
        alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": datetime.now(UTC).isoformat()}
        return json.dumps({"version": "4", "alerts": [alert]}).encode()

    def children(self) -> list[int]:
        """Processes of a run: they were started in its sandbox or carry its mark."""
        return [pid for pid in self.processes() if b"GITMEDIC_RUN=" in _read(pid, "environ")]

    def processes(self) -> list[int]:
        """All that have to do with this installation, by command line, environment or what is mounted for them."""
        name = self.place.name.encode()
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in found if any(name in _read(pid, what) for what in ("cmdline", "environ", "mountinfo"))]

    async def end(self) -> None:
        """What still lives is asked to end."""
        for pid in (pid for pids in self.living.values() for pid in pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            while any(Path(f"/proc/{pid}").exists() for pids in self.living.values() for pid in pids):
                await asyncio.sleep(0.01)
        self.living.clear()


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


@contextlib.asynccontextmanager
async def stand(
    postgres: EmbeddedPostgres, forks: Forks, seed: str, *, gated: bool, lease: float
) -> AsyncIterator[Stand]:
    """Make it, and take it away; kept when the cell failed, since its log says why."""
    place = Path(tempfile.mkdtemp(prefix="gitmedic-kills-", dir="/var/tmp"))
    database = f"kills_{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    with _metrics(place / "target" / "lines") as port:
        settings, first = _installation(place, _url(postgres, database), port, gated=gated, lease=lease)
        async with open_office(settings) as office:
            await _patiently(lambda: _begin_in(office, first))
            made = Stand(place, settings, office, postgres, forks, random.Random(seed))
            try:
                yield made
            finally:
                for role in list(made.living):
                    made.kill(role)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    shutil.rmtree(place, ignore_errors=True)


async def _begin_in(office: Office, first: str) -> None:
    await PostgresDesk(office.store.pool).adopt(first, old=None, digest="", actor="os:test")
    await office.store.inbox.connect([SOURCE])


async def _patiently(act: Callable[[], Awaitable[None]]) -> None:
    """A machine that does much else may keep a pool waiting."""
    for _ in range(20):
        with contextlib.suppress(Unavailable):
            return await act()
    return await act()


def _url(postgres: EmbeddedPostgres, database: str) -> str:
    said = dict(part.split("=", 1) for part in postgres.dsn(database).split())
    return f"postgresql://{said['user']}:{quote(said['password'])}@/{database}?{urlencode({'host': said['host']})}"


def _installation(place: Path, url: str, port: int, *, gated: bool, lease: float) -> tuple[Settings, str]:
    data, target = place / "data", place / "target"
    data.mkdir(mode=0o700)
    target.mkdir()
    (target / "gate").write_text("open")
    text = f"""[database]
url = "{url}"
[web]
listen = "127.0.0.1:{free_port()}"
[worker]
poll_seconds = 0.05
lease_seconds = {lease}
[[sources]]
name = "{SOURCE}"
kind = "probe"
url = "http://127.0.0.1:{port}/metrics"
interval_seconds = 0.1
[[sources.rules]]
alert = "{ALERT}"
expr = "line_missing == 1"
for_seconds = 0
labels = {{ severity = "warning" }}
"""
    (data / "gitmedic.toml").write_text(text)
    (data / "gitmedic.toml").chmod(0o600)
    prepare(data)
    settings = load(data, environment={})
    person = os_user()
    host = {
        "ansible_connection": "local", "gitmedic_facts": {"target.path": str(target)},
        "gitmedic": {"site": SITE, "match": [f'host="{HOST}"'], "local": {"writable": [str(target)]}},
    }  # fmt: skip
    policy = {
        "mode": "propose", "sources": {SOURCE: {"mode": "propose"}}, "approvals": {"solo": person},
        "people": [{"name": person, "os": [person], "session": [person], "approves": "medium", "dispatches": True}],
        "isolation": {"none_allowed": [SITE]}, "limits": {"cooldown": "1s", "rehearsals": 10},
    }  # fmt: skip
    files = {
        "playbooks/kills/line/playbook.yml": (_PLAYBOOK + (_GATE if gated else "")).encode(),
        "playbooks/kills/line/catalog.yml": _CATALOG.encode(),
        "inventory/hosts.yml": json.dumps({"all": {"hosts": {HOST: host}}}).encode(),
        "policy.yml": json.dumps(policy).encode(),
    }
    return settings, create_ops_repository(settings.repo.path, files, f"{person} <{person}@localhost>")


@contextlib.contextmanager
def _metrics(lines: Path) -> Iterator[int]:
    """A page with one number: whether the line is missing."""

    def measure() -> str:
        missing = int(not (lines.exists() and lines.stat().st_size))
        return f'# TYPE line_missing gauge\nline_missing{{host="{HOST}"}} {missing}\n'

    with page(measure) as port:
        yield port
