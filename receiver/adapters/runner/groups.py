"""Control groups of one run, where this process may make some: memory, number of processes, and one end for all.

Version 2 where the controllers are delegated to us, version 1 where its folders are writable. Decides nothing and
refuses nothing: without a group the watch and the limits of each process remain, and `doctor` says so and why.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_BOTH = ("memory", "pids")
#: file of the limit by controller and version
_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}


class _Home(NamedTuple):
    """Where groups can be made, and which limits they have there."""

    version: int
    folder: Path
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """The folders of one run's groups; none where none can be had."""

    folders: tuple[Path, ...] = ()

    @property
    def doors(self) -> tuple[Path, ...]:
        """Where a process writes itself in."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def met(self) -> str:
        """The limit that the kernel held it to; empty when none."""
        for name, count, key in (
            ("memory.events", "oom_kill", "memory_mb"),
            ("memory.oom_control", "oom_kill", "memory_mb"),
            ("pids.events", "max", "processes"),
        ):
            for folder in self.folders:
                with contextlib.suppress(OSError):
                    words = (folder / name).read_text().split()
                    if int(dict(zip(words[::2], words[1::2], strict=False)).get(count, "0")) > 0:
                        return key
        return ""

    def end(self, seconds: float = 5.0) -> None:
        """Kill all in it, and remove it; blocking."""
        until = time.monotonic() + seconds
        for folder in self.folders:
            while time.monotonic() < until:
                if not _kill(folder):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                        break
                time.sleep(0.01)


def open_groups(name: str, memory_mb: int, processes: int) -> Groups:
    """A group for memory and processes below our own, or none; what was half made is removed."""
    made = []
    for home in _homes():
        with contextlib.suppress(OSError):
            made.append(_make(home, name, memory_mb, processes))
    return Groups(tuple(made))


def lacking() -> str:
    """What no control group holds here, and why; empty when memory and processes are held. Tried; blocking."""
    name, missing, why = f"probe-{secrets.token_hex(6)}", {"memory", "pids"}, "none is mounted that could be used"
    for home in _homes():
        doing = f"making one in {home.folder}"
        try:
            folder = _make(home, name, 64, 16)
            doing = f"entering one in {home.folder}"
            _enter(folder)
            missing -= set(home.controllers)
        except OSError as error:
            why = f"{doing}: {error.strerror}"
        finally:
            groups_of(name).end()
    held_not = " and ".join({"memory": "memory", "pids": "processes"}[one] for one in sorted(missing))
    return f"no control group holds {held_not}: {why}" if held_not else ""


def _make(home: _Home, name: str, memory_mb: int, processes: int) -> Path:
    """One folder with its limits, or an `OSError` and no folder."""
    folder = home.folder / f"gitmedic-{name}"
    if home.version == 2:
        _enable(home.folder)
    folder.mkdir()
    try:
        if "memory" in home.controllers:
            (folder / _MEMORY[home.version]).write_text(str(memory_mb << 20))
        if "pids" in home.controllers:
            (folder / "pids.max").write_text(str(processes))
    except OSError:
        folder.rmdir()
        raise
    return folder


def _enter(folder: Path) -> None:
    """A process of its own goes in, as a run does."""
    code = 'echo 0 > "$1"'
    said = subprocess.run(
        ["/bin/sh", "-c", code, "sh", str(folder / "cgroup.procs")], capture_output=True, text=True, check=False
    )
    if said.returncode != 0:
        raise OSError(0, said.stderr.strip().rpartition(": ")[2] or "a process is not let in")


def groups_of(name: str) -> Groups:
    """The groups of this name that are there."""
    places = [home.folder / f"gitmedic-{name}" for home in _homes()]
    return Groups(tuple(place for place in places if place.is_dir()))


def _homes() -> list[_Home]:
    """Our own groups: where, and which limits they can set."""
    found: list[_Home] = []
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, names, path = line.split(":", 2)
        controllers = tuple(name for name in names.split(",") if name in _BOTH)
        if names == "" and (_ROOT / "cgroup.controllers").exists():
            own = _ROOT / path.lstrip("/")
            # a folder that hands on has no processes of its own: where a service has subgroups, that is our parent
            found.append(_Home(2, own.parent if own != _ROOT else own, _BOTH))
        elif controllers and (_ROOT / names / path.lstrip("/") / "cgroup.procs").exists():
            found.append(_Home(1, _ROOT / names / path.lstrip("/"), controllers))
    return found


def _enable(home: Path) -> None:
    wanted = {"memory", "pids"} - set((home / "cgroup.subtree_control").read_text().split())
    if wanted:
        (home / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(wanted)))


def _kill(folder: Path) -> bool:
    """Whether there was still somebody."""
    try:
        pids = [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return False
    if pids and (folder / "cgroup.kill").exists():
        (folder / "cgroup.kill").write_text("1")
        return True
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)
