"""What one run may use: set on its own processes from inside, watched from outside, and named when it was the end.

Decides which limit of a playbook stopped a run. What a target's own system says is the target's: a full disk there is
not our limit.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

from receiver.adapters.runner.kin import kin, memory_mb
from receiver.domain.run import Job, Rung

_SHUT_OFF: tuple[Rung, ...] = ("netns", "bwrap")
_LOOK_SECONDS = 0.1
#: what a program says when it meets a limit of its process, and which one it is
_SAID = {
    "File too large": "file_mb",
    "Too many open files": "open_files",
    "Cannot allocate memory": "memory_mb",
    "MemoryError": "memory_mb",
    "can't start new thread": "processes",
    "Resource temporarily unavailable": "processes",
}
_WORDS = {
    "timeout_seconds": "it took longer than {} s",
    "memory_mb": "it used more than {} MB of memory",
    "output_mb": "it wrote more than {} MB of output",
    "processes": "it had more than {} processes",
    "open_files": "it had more than {} files open",
    "file_mb": "it wrote a file of more than {} MB",
    "scratch_mb": "it put more than {} MB into its own directory",
}


def words(job: Job, key: str) -> str:
    """Which limit it was, and where it is set."""
    return f"{_WORDS[key].format(getattr(job, key))} (limits.{key} of its catalog.yml)"


def set_own(job: Job) -> None:
    """On this process and all that it starts."""
    _lower(resource.RLIMIT_NOFILE, job.open_files)
    _lower(resource.RLIMIT_FSIZE, job.file_mb << 20)
    _lower(resource.RLIMIT_CORE, 0)
    if job.isolation in _SHUT_OFF:  # elsewhere the kernel would count the user's other processes too
        _lower(resource.RLIMIT_NPROC, job.processes)


def _lower(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (least, least))


class Fullness:
    """Looks, inside, whether the run's bounded directory is full; a file that is gone a moment later is seen."""

    def __init__(self, job: Job, base: Path, tell: Callable[[str], None]) -> None:
        self.was_full = False
        self._base, self._tell = base, tell
        if job.isolation in _SHUT_OFF:
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.was_full:
            self.look()
            time.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Once."""
        room = os.statvfs(self._base)
        if room.f_bavail * 100 < room.f_blocks:
            self.was_full = True
            self._tell("scratch_mb")


def cause(job: Job, said: str, *, was_full: bool) -> str:
    """The limit that a failure speaks of; empty when none. Only of this machine's own processes."""
    if was_full:
        return "scratch_mb"
    if any(host.connection != "local" for host in job.hosts):
        return ""
    if "No space left on device" in said and job.isolation in _SHUT_OFF:
        return "scratch_mb"
    return next((key for text, key in _SAID.items() if text in said), "")


def exceeded(job: Job, root: int, mark: str, scratch: Path, given: int) -> str:
    """The limit that a run is over now, seen from outside; empty when none. `given` are the bytes that lay in its
    directory before it began. Blocking."""
    pids = kin(root, mark)
    if len(pids) > job.processes:
        return "processes"
    if memory_mb(pids) > job.memory_mb:
        return "memory_mb"
    if job.isolation not in _SHUT_OFF and folder_bytes(scratch) - given > job.scratch_mb << 20:
        return "scratch_mb"
    return ""


def folder_bytes(folder: Path) -> int:
    """What is on the disk: a hole in a file takes none."""
    total = 0
    for top, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(top, name)).st_blocks * 512  # noqa: PTH118 - thousands, quickly
    return total
