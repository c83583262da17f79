"""Control groups of one run, where this process may make some: memory, number of processes, and one end for all.

Version 2 where the controllers are delegated to us, version 1 where its folders are writable. Decides nothing and
refuses nothing: without a group the watch and the limits of each process remain, and `doctor` says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
#: file of the limit by controller and version
_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}


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
    made: list[Path] = []
    for version, home, controllers in _homes():
        folder = home / f"gitmedic-{name}"
        try:
            if version == 2:
                _enable(home)
            folder.mkdir()
            made.append(folder)
            if "memory" in controllers:
                (folder / _MEMORY[version]).write_text(str(memory_mb << 20))
            if "pids" in controllers:
                (folder / "pids.max").write_text(str(processes))
        except OSError:
            if folder in made:
                made.remove(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()
    return Groups(tuple(made))


def groups_of(name: str) -> Groups:
    """The groups of this name that are there."""
    places = [home / f"gitmedic-{name}" for _, home, _ in _homes()]
    return Groups(tuple(place for place in places if place.is_dir()))


def _homes() -> list[tuple[int, Path, tuple[str, ...]]]:
    """Our own groups: version, folder, and which limits it can set."""
    found: list[tuple[int, Path, tuple[str, ...]]] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, names, path = line.split(":", 2)
        controllers = tuple(name for name in names.split(",") if name in ("memory", "pids"))
        if names == "" and (_ROOT / "cgroup.controllers").exists():
            own = _ROOT / path.lstrip("/")
            # a folder that hands on has no processes of its own: where a service has subgroups, that is our parent
            found.append((2, own.parent if own != _ROOT else own, ("memory", "pids")))
        elif controllers and (_ROOT / names / path.lstrip("/") / "cgroup.procs").exists():
            found.append((1, _ROOT / names / path.lstrip("/"), controllers))
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
