"""The embedded server: one owner, no port, and back again after every way of dying."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from receiver.adapters.store import migrate as migration
from receiver.adapters.store.embedded import EmbeddedPostgres, dsn_of
from receiver.adapters.store.migrate import migrate
from receiver.adapters.store.queries import load
from receiver.errors import Broken, Refused, Unavailable


@pytest.fixture
def place() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="gitmedic-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def one(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None


@pytest.mark.anyio
async def test_it_starts_keeps_and_ends(place: Path) -> None:
    data = place / ("x" * 120) / "data"  # longer than a socket's path may be
    data.parent.mkdir(mode=0o755)
    server = EmbeddedPostgres(data)
    await server.start()
    try:
        assert one(server.dsn(), "SHOW listen_addresses") == ""
        assert one(server.dsn(), "SHOW fsync") == "on"
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        assert (data / "postgres.password").stat().st_mode & 0o077 == 0
        assert (data / "postgres").stat().st_mode & 0o077 == 0
        bad = server.dsn().replace("password=", "password=x")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(bad)
        with pytest.raises(Refused, match="owns it already"):
            await EmbeddedPostgres(data).start()
    finally:
        await server.stop()
    assert not server.is_running()
    again = EmbeddedPostgres(data)
    await again.start()
    try:
        assert one(again.dsn(), "SELECT n FROM kept") == 7
    finally:
        await again.stop()


@pytest.mark.anyio
async def test_a_killed_server_comes_back(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.is_running():
        await asyncio.sleep(0.05)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    await server.stop()
    await server.start()
    try:
        assert one(server.dsn(), "SELECT 1") == 1
    finally:
        await server.stop()


BUSY = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    print(connection.info.backend_pid, flush=True)
    connection.execute("DO $$ BEGIN LOOP NULL; END LOOP; END $$")
"""


def lives(pid: int) -> bool:
    """Also a process that ended is listed, until somebody asks for its end."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.anyio
async def test_a_backend_that_outlives_its_server_is_ended_before_the_next_start(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await server.start()
    given = [sys.executable, "-c", BUSY, server.dsn()]
    busy = subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    again = EmbeddedPostgres(place / "data")
    assert busy.stdout is not None and server.pid is not None
    backend = int(busy.stdout.readline())
    try:
        await asyncio.sleep(0.3)
        os.kill(server.pid, signal.SIGKILL)
        while server.is_running():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        assert lives(backend)  # it looks for its server only when it waits for something
        await server.stop()
        await again.start()
        assert one(again.dsn(), "SELECT 1") == 1 and not lives(backend)
    finally:
        await again.stop()
        busy.kill()
        busy.communicate()
        if lives(backend):
            os.kill(backend, signal.SIGKILL)


OWNER = """
import asyncio, sys
from pathlib import Path
from receiver.adapters.store.embedded import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.anyio
async def test_it_dies_with_its_owner_and_the_next_owner_starts(place: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(place / "data")], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    server = EmbeddedPostgres(place / "data")
    await server.start()
    try:
        assert server.pid != pid and one(server.dsn(), "SELECT 1") == 1
        end = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
    finally:
        await server.stop()


@pytest.mark.anyio
async def test_a_stale_pid_of_a_foreign_process_is_left_alone(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await server.start()
    await server.stop()
    (place / "data" / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{place}\n0\n5432\n\n\n0 0\nready\n")
    await server.start()
    try:
        assert one(server.dsn(), "SELECT 1") == 1
    finally:
        await server.stop()


@pytest.mark.anyio
async def test_a_stale_lock_of_the_socket_is_no_hindrance(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await server.start()
    folder = Path((place / "data" / "postgres.socket").read_text())
    await server.stop()
    owner = (place / "data" / "postgres").stat().st_uid
    # a process that PostgreSQL may send signals to, so that it takes it for another server
    with subprocess.Popen(["sleep", "60"], user=owner) as other:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, owner, owner)
        lock = folder / ".s.PGSQL.5432.lock"
        lock.write_text(f"{other.pid}\n{place}\n0\n5432\n{folder}\n")
        try:
            await server.start()
            assert one(server.dsn(), "SELECT 1") == 1 and not lock.read_text().startswith(f"{other.pid}\n")
        finally:
            await server.stop()
            other.kill()


@pytest.mark.anyio
async def test_a_newer_directory_is_refused(place: Path) -> None:
    data = place / "data"
    data.mkdir()
    (data / "version").write_text(json.dumps({"schema": 99, "gitmedic": "9.9", "postgres": 18}))
    with pytest.raises(Refused, match=r"written by gitmedic 9\.9"):
        await EmbeddedPostgres(data).start()


@pytest.mark.anyio
async def test_a_place_that_cannot_be_used_is_named(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(Refused, match="file"):
        await EmbeddedPostgres(place / "file" / "data").start()
    with pytest.raises(Unavailable, match="none has run there"):
        dsn_of(place / "nowhere")
    if os.geteuid() == 0:
        closed = place / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(Refused, match="may not enter"):
            await EmbeddedPostgres(closed / "data").start()


DISK = """
mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c '
import asyncio, sys
from pathlib import Path
from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.errors import Refused
async def main():
    try:
        await EmbeddedPostgres(Path(sys.argv[1]) / "data").start()
    except Refused as error:
        print(error.message, error.next_step)
asyncio.run(main())
' "$1"
"""


def test_a_full_disk_is_said_in_words(place: Path) -> None:
    flags = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    argv = ["unshare", *flags, "sh", "-c", DISK, "sh", str(place), sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "No space left" in done.stdout or "free some space" in done.stdout, done.stdout + done.stderr


@pytest.mark.anyio
async def test_migrations_are_applied_once_and_never_edited(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await migrate(database) == []
    wanted = migration.migrations()
    more = {**wanted, "9001_more.sql": "CREATE TABLE more (n int);"}
    monkeypatch.setattr(migration, "migrations", lambda: more)
    first, second = await asyncio.gather(migrate(database), migrate(database))
    assert [*first, *second] == ["9001_more.sql"]
    monkeypatch.setattr(migration, "migrations", lambda: wanted)
    with pytest.raises(Refused, match="does not know"):
        await migrate(database)
    monkeypatch.setattr(migration, "migrations", lambda: {**more, "0002_cases.sql": "SELECT 1;"})
    with pytest.raises(Refused, match="not the one that was applied"):
        await migrate(database)
    broken = {**more, "9002_broken.sql": "CREATE TABLE half (n int); SELECT 1/0;"}
    monkeypatch.setattr(migration, "migrations", lambda: broken)
    with pytest.raises(psycopg.Error):
        await migrate(database)
    assert one(database, "SELECT to_regclass('half')") is None


def test_named_queries() -> None:
    assert "FOR UPDATE" in load("cases")["claim"] and "SKIP LOCKED" in load("cases")["claim"]
    with pytest.raises(Broken, match="no query named"):
        load("cases")["nonsense"]
