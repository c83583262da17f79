"""`gitmedic up`: PostgreSQL, the server and both workers on one machine, as processes that are kept alive.

Decides what each process may know (its environment is made from nothing; only the executor's holds
credentials), when a dead one is started again, and when that is hopeless. One owner per data directory.
Everything ends with this process, however it ends: a signal, a kill or a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg
import structlog

from receiver import belongings
from receiver.adapters.store.embedded import EmbeddedPostgres, explained
from receiver.adapters.store.migrate import migrate
from receiver.adapters.store.space import watch_space
from receiver.config import Settings
from receiver.errors import GitmedicError, Refused, Unavailable

log = structlog.get_logger()

#: a child that ends with one of these before all is ready will not do better the next time
HOPELESS = (2, 3)
#: so long may a child take to end; `serve` gives open requests 10 s, a worker its stages 8 s
GRACE_SECONDS = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: a child that lived so long has started well
_STEADY_SECONDS = 30.0
_TRIES_UNTIL_READY = 5
_OWNER_PATIENCE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1

_LIFELINE, _PARENT = "GITMEDIC_LIFELINE", "GITMEDIC_PARENT"
_BEGUN = b"b"


@dataclass
class Child:
    """One process that is kept alive."""

    name: str
    arguments: tuple[str, ...]
    process: asyncio.subprocess.Process | None = None
    #: our end of a pair whose other end the child watches, and speaks into once when it has begun
    lifeline: socket.socket | None = None
    expected: bool = False  #: it was asked to end, to be started again
    has_begun: bool = False

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None

    def begun(self) -> bool:
        """Whether it runs and has read its settings."""
        if self.lifeline is not None and self.pid and not self.has_begun:
            with contextlib.suppress(BlockingIOError):
                self.has_begun = self.lifeline.recv(1) == _BEGUN
        return self.pid is not None and self.has_begun

    def let_go(self) -> None:
        """Close our end; a child that still lives ends."""
        if self.lifeline is not None:
            self.lifeline.close()
        self.lifeline, self.has_begun = None, False

    def send(self, number: signal.Signals) -> None:
        """A signal, to this child only."""
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


def children() -> tuple[Child, ...]:
    """The server, the planner and the executor: three processes that know different things."""
    return (
        Child("serve", ("serve",)),
        Child("plan", ("work", "--role", "plan")),
        Child("execute", ("work", "--role", "execute")),
    )


def environment(name: str, settings: Settings, outer: Mapping[str, str]) -> dict[str, str]:
    """What a child is told: what it may know (promise P9), and what this command was given."""
    told = {
        "GITMEDIC_DATA_DIR": str(settings.data_dir),
        "GITMEDIC_CONFIG": str(settings.file),
        "GITMEDIC_LISTEN": settings.web.listen,
    }
    return belongings.environment(name, settings, outer) | told


def check_listen(settings: Settings) -> None:
    """Refuse an address that cannot be bound, before anything is started."""
    host, port = settings.web.host, settings.web.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Refused(
            f"listening on {settings.web.listen!r}: {error.strerror or error}",
            next_step="stop what listens there, or choose another port: --listen 127.0.0.1:8091",
            reason="listen",
        ) from None


def hold_lifeline() -> Callable[[], None]:
    """In a child, once it is itself: end when the supervisor is gone, whatever took it away, however early.

    Gives what to call when the settings are read and the work begins.
    """
    number = os.environ.pop(_LIFELINE, None)
    parent = os.environ.pop(_PARENT, None)
    if number is None:
        return lambda: None
    lifeline = socket.socket(fileno=int(number))
    lifeline.set_inheritable(False)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != parent:
        raise SystemExit("the supervisor ended while this process began")
    threading.Thread(target=_watch, args=(lifeline,), daemon=True, name="lifeline").start()

    def begun() -> None:
        with contextlib.suppress(OSError):
            lifeline.send(_BEGUN)

    return begun


def _watch(lifeline: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while lifeline.recv(1):
            pass
    if sys.platform != "linux":  # where the kernel has not sent it already; a second one would cut the end short
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(128 + signal.SIGTERM)


@dataclass
class Supervisor:
    """Brings everything up, keeps it up, and takes it down."""

    settings: Settings
    #: once per start, between the database and the children
    first: Callable[[Settings, str], Awaitable[object]]
    say: Callable[[str], None]
    children: tuple[Child, ...] = field(default_factory=children)
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "receiver")

    def __post_init__(self) -> None:
        self._postgres = EmbeddedPostgres(self.settings.data_dir)
        self._signals: list[signal.Signals] = []
        self._stop, self._hard = asyncio.Event(), asyncio.Event()
        self._is_ready = self._is_owner = False

    async def run(self) -> int:
        """Until a signal (128 + its number) or until going on is hopeless (raises `Refused`)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
            await self._end()
        if not work.cancelled() and not self._signals and (error := work.exception()):
            raise error
        return 128 + self._signals[0] if self._signals else 0

    def _signalled(self, number: signal.Signals) -> None:
        self._signals.append(number)
        if self._stop.is_set():
            self._hard.set()
        self._stop.set()

    async def _work(self) -> None:
        dsn = await self._database()
        await self.first(self.settings, dsn)
        async with asyncio.TaskGroup() as group:
            if self.settings.embedded:
                group.create_task(self._keep_postgres())
                group.create_task(watch_space(self.settings.data_dir))
            for child in self.children:
                group.create_task(self._keep(child))
            group.create_task(self._announce())

    async def _database(self) -> str:
        with explained(self.settings.data_dir):
            self.settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            await self._own()
        dsn = self.settings.database.url.get_secret_value()
        if self.settings.embedded:
            await self._postgres.start()
            dsn = self._postgres.dsn()
            log.info("postgres.started", pid=self._postgres.pid)
        try:
            applied = await migrate(dsn)
        except psycopg.OperationalError as error:
            said = str(error).strip().split("\n")[0]
            raise Unavailable(f"connecting to the database: {said}") from None
        if applied:
            log.info("database.migrated", applied=applied)
        return dsn

    async def _own(self) -> None:
        """A command that borrows the database for a moment is waited for; another `up` is not."""
        end = time.monotonic() + _OWNER_PATIENCE_SECONDS
        while True:
            try:
                self._postgres.own()
                self._is_owner = True
                return
            except Refused as error:
                if error.reason != "second_owner" or time.monotonic() > end:
                    raise
            await asyncio.sleep(0.1)

    async def _keep_postgres(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(0.2)
            if self._postgres.is_running():
                continue
            old = self._postgres.dsn()
            log.warning("postgres.ended", again_in_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self._postgres.start()
            except GitmedicError as error:
                log.error("postgres.not_started", error=error.message)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            log.info("postgres.started", pid=self._postgres.pid)
            if self._postgres.dsn() != old:  # the children look for it in its old place
                for child in self.children:
                    child.expected = True
                    child.send(signal.SIGTERM)

    async def _keep(self, child: Child) -> None:
        pause, tries = _FIRST_PAUSE, 0
        while True:
            began = time.monotonic()
            process = await self._spawn(child)
            code = await process.wait()
            if time.monotonic() - began > _STEADY_SECONDS or child.expected:
                pause, tries = _FIRST_PAUSE, 0
            child.expected = False
            tries += 1
            self._refuse_hopeless(child, code, tries)
            log.warning("child.ended", child=child.name, ended=_ended(code), again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _refuse_hopeless(self, child: Child, code: int, tries: int) -> None:
        if not self._is_ready and (code in HOPELESS or tries >= _TRIES_UNTIL_READY):
            raise Refused(
                f"starting {child.name}: it {_ended(code)}, see its message above",
                next_step="gitmedic doctor",
                reason="config" if code in HOPELESS else "child",
            )

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        child.let_go()
        child.lifeline, theirs = socket.socketpair()
        child.lifeline.setblocking(False)
        with theirs:
            told = {_LIFELINE: str(theirs.fileno()), _PARENT: str(os.getpid())}
            child.process = await asyncio.create_subprocess_exec(
                *self.program, *child.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                # a child's own words never mix with ours: standard output is for data
                stdout=sys.stderr.fileno(),
                env=environment(child.name, self.settings, os.environ) | told,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at the terminal is ours to pass on
            )  # fmt: skip
        log.info("child.started", child=child.name, pid=child.process.pid)
        return child.process

    async def _announce(self) -> None:
        """The ready line, once an alert would be stored and every child runs."""
        url = self.settings.web.local_url
        while True:
            if all([child.begun() for child in self.children]) and await _answers_200(url, "/readyz"):
                break
            await asyncio.sleep(0.1)
        self._is_ready = True
        self.say(f"gitmedic is ready: {self.settings.web.url}")
        _tell_systemd("READY=1")

    async def _end(self) -> None:
        """Children first, so that they can still write down how they ended; then PostgreSQL."""
        for child in self.children:
            child.send(signal.SIGTERM)
        hard = asyncio.create_task(self._hard.wait())
        gone = asyncio.create_task(self._gone())
        await asyncio.wait([gone, hard], timeout=GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hard.cancel()
        for child in self.children:
            if child.pid:
                log.warning("child.killed", child=child.name, pid=child.pid)
                child.send(signal.SIGKILL)
        await gone
        for child in self.children:
            child.let_go()
        if self._hard.is_set() and self._postgres.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._postgres.pid, signal.SIGQUIT)
        if self._is_owner:  # to stop is also to clear away what lies there, which may be another's
            await self._postgres.stop()

    async def _gone(self) -> None:
        for child in self.children:
            if child.process is not None:
                await child.process.wait()


async def up(
    settings: Settings,
    *,
    first: Callable[[Settings, str], Awaitable[object]],
    say: Callable[[str], None],
) -> int:
    """Run everything until a signal comes; gives the exit code."""
    check_listen(settings)
    try:
        return await Supervisor(settings, first, say).run()
    except BaseExceptionGroup as group:  # of the tasks, the first that gave up speaks for all
        raise group.exceptions[0] from None


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


async def _answers_200(url: str, path: str) -> bool:
    """One GET; anything but 200 is a no."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.readline()
                return answer.split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False


def _tell_systemd(text: str) -> None:
    """`Type=notify` of a unit file; no socket, no word."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.connect("\0" + address[1:] if address.startswith("@") else address)
            speaker.send(text.encode())
