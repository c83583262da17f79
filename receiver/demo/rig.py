"""Sets the demo up and takes it down: one directory, a handful of processes, loopback ports only.

    <dir>/cache web/ queue/   what is broken and mended
    <dir>/data                gitmedic's data directory, marked as a demo's
    <dir>/tsdb alertmanager   of Prometheus and Alertmanager, where they are found on PATH

Every process dies with the demo. Refuses to remove a directory that is not marked as a demo's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from receiver.adapters.demo.cards import ASKS, FILE
from receiver.adapters.proof.probe import ProbeProof, send_alerts
from receiver.adapters.repo.creation import create_ops_repository
from receiver.config import Settings, load
from receiver.demo import files
from receiver.errors import Refused, Unavailable
from receiver.office import Office, SystemClock, open_office
from receiver.starter import os_user, prepare

PREFIX = "gitmedic-demo-"
#: as root PostgreSQL's own user must be able to enter the place; /tmp may be a user's own
BASE = Path("/var/tmp")  # noqa: S108 - a fresh directory of mode 0700 or 0711 is made in it
_READY_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Rig:
    """A running demo."""

    place: Path
    settings: Settings
    office: Office
    simulated: bool
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the pages."""
        return self.settings.web.local_url


@asynccontextmanager
async def running(
    *, simulated: bool, say: Callable[[str], None], cards: Sequence[Mapping[str, str]] = ()
) -> AsyncIterator[Rig]:
    """Set up, wait until an alert would be stored, hand over, take down."""
    have_prometheus = not simulated and bool(shutil.which("prometheus") and _alertmanager())
    place, lock = _make_place()
    processes: list[subprocess.Popen[bytes]] = []
    sender: asyncio.Task[None] | None = None
    try:
        say(f"the demo lives in {place}")
        say("starting PostgreSQL, the server and the workers")
        exporter_port = await _start_things(place, processes)
        ports = (_free_port(), _free_port()) if have_prometheus else None
        settings = _settings(place, exporter_port, ports[0] if ports else None)
        _show_cards(settings.data_dir, files.cards_json(cards, exporter_port=exporter_port))
        _spawn(
            processes, [sys.executable, "-m", "receiver", "up", "--data-dir", str(settings.data_dir)], place / "up.log"
        )
        await _ready(settings, processes[-1], place / "up.log")
        async with open_office(settings) as office:
            token = await office.store.access.create_token(
                "demo", "alerts:write", source=files.SOURCE, created_by=f"os:{os_user()}"
            )
            hook = f"{settings.web.local_url}/alertmanager/{files.SOURCE}"
            if ports:
                await _start_prometheus(place, processes, exporter_port, ports, hook, token)
                say("real alerts: Prometheus and Alertmanager run")
            else:
                probe = ProbeProof(settings.sources[0], SystemClock())
                sender = asyncio.create_task(send_alerts(probe, hook, token))
                say("simulated sender: no Prometheus here, a probe evaluates the same comparisons")
            yield Rig(place, settings, office, simulated=not ports, processes=processes)
    finally:
        if sender is not None:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        await asyncio.to_thread(_stop, processes)
        os.close(lock)


def clean(say: Callable[[str], None], *, only: Path | None = None) -> int:
    """Remove this demo, or every demo of this user that does not run; gives how many."""
    removed = 0
    for place in [only] if only else sorted(BASE.glob(f"{PREFIX}*")):
        if place.is_symlink() or place.stat().st_uid != os.geteuid():
            continue
        if not (place / "demo").is_file():
            say(f"{place} is not marked as a demo's, and stays")
            continue
        if _is_owned(place / "demo") or _is_owned(place / "data" / "owner.lock"):
            say(f"{place} runs, and stays")
            continue
        shutil.rmtree(place)
        say(f"removed {place}")
        removed += 1
    return removed


def _make_place() -> tuple[Path, int]:
    """The directory, and the lock that says that it is in use: a cleaning elsewhere leaves it alone."""
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=BASE))
    lock = os.open(place / "demo", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, b"made by gitmedic demo; gitmedic demo --clean removes it\n")
    if os.geteuid() == 0:
        place.chmod(0o711)
    for name in ("cache", "web", "queue"):
        (place / name).mkdir()
    return place, lock


async def _start_things(place: Path, processes: list[subprocess.Popen[bytes]]) -> int:
    """The web service with its supervisor, and the exporter; gives the exporter's port."""
    _spawn(processes, [sys.executable, "-m", "receiver.demo.service", str(place)], place / "service.log")
    port_file = place / "exporter.port"
    _spawn(
        processes, [sys.executable, "-m", "receiver.demo.exporter", str(place), str(port_file)], place / "exporter.log"
    )
    await _until(lambda: port_file.exists() and (place / "web" / "web.sock").exists(), "starting the demo's service")
    return int(port_file.read_text())


def _settings(place: Path, exporter_port: int, prometheus_port: int | None) -> Settings:
    data = place / "data"
    data.mkdir(mode=0o700)
    listen = f"127.0.0.1:{_free_port()}"  # two demos at once must not meet on one port
    text = files.settings_toml(listen=listen, exporter_port=exporter_port, prometheus_port=prometheus_port)
    (data / "gitmedic.toml").write_text(text)
    settings = load(data, environment={})
    prepare(data)
    person = os_user()
    create_ops_repository(settings.repo.path, files.ops_files(place, person), f"{person} <{person}@localhost>")
    return settings


def _show_cards(data: Path, told: dict[str, Any]) -> None:
    """What the demo's page shows, and where it asks."""
    (data / ASKS).mkdir(mode=0o700)
    (data / FILE).write_text(json.dumps(told))


async def _start_prometheus(
    place: Path,
    processes: list[subprocess.Popen[bytes]],
    exporter_port: int,
    ports: tuple[int, int],
    hook: str,
    token: str,
) -> None:
    prometheus, alertmanager = ports
    config = files.prometheus_config(
        exporter_port=exporter_port, alertmanager_port=alertmanager, rules=place / "rules.json"
    )
    for name, content in (
        ("prometheus.json", config),
        ("rules.json", files.rules_config()),
        ("alertmanager.json", files.alertmanager_config(url=hook, token=token)),
    ):
        (place / name).write_text(json.dumps(content))
        (place / name).chmod(0o600)
    _spawn(
        processes,
        [_alertmanager() or "alertmanager", f"--config.file={place / 'alertmanager.json'}",
         f"--storage.path={place / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{alertmanager}",
         "--cluster.listen-address="],
        place / "alertmanager.log",
    )  # fmt: skip
    _spawn(
        processes,
        ["prometheus", f"--config.file={place / 'prometheus.json'}", f"--storage.tsdb.path={place / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{prometheus}"],
        place / "prometheus.log",
    )  # fmt: skip
    async with httpx.AsyncClient(trust_env=False) as http:
        for port in ports:
            await _until_answers(http, f"http://127.0.0.1:{port}/-/ready")


async def _ready(settings: Settings, up: subprocess.Popen[bytes], log: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await _until_answers(http, f"{settings.web.local_url}/readyz", up, log)


async def _until_answers(
    http: httpx.AsyncClient, url: str, process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    end = asyncio.get_running_loop().time() + _READY_SECONDS
    while asyncio.get_running_loop().time() < end:
        if process is not None and process.poll() is not None:
            said = log.read_text(errors="replace").strip().split("\n")[-1] if log else ""
            raise Refused(f"starting the demo: gitmedic up ended: {said}", next_step=f"read {log}", reason="demo")
        with contextlib.suppress(httpx.HTTPError):
            if (await http.get(url, timeout=2)).status_code == 200:
                return
        await asyncio.sleep(0.05)
    raise Unavailable(f"starting the demo: {url} does not answer")


async def _until(done: Callable[[], bool], doing: str) -> None:
    end = asyncio.get_running_loop().time() + _READY_SECONDS
    while not done():
        if asyncio.get_running_loop().time() > end:
            raise Unavailable(f"{doing}: it took too long")
        await asyncio.sleep(0.02)


def _spawn(processes: list[subprocess.Popen[bytes]], argv: list[str], log: Path) -> None:
    """A child of the demo, which dies with it."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with log.open("ab") as stream:
        processes.append(
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call
            )
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in reversed(processes):
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _alertmanager() -> str | None:
    return shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")


def _is_owned(lock: Path) -> bool:
    if not lock.exists():
        return False
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
