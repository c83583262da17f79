"""Which processes of this machine belong to a run: by descent, and by a mark in their environment.

Standard library only, for the child loads it as well. Descent finds who cleared the environment, the mark finds who
was orphaned; where neither finds them, the keeper or the namespace has them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

#: the variable that marks every process of a run, so that none is overlooked
MARK = "GITMEDIC_RUN"


def marked(mark: str) -> list[int]:
    """Processes that were started with the mark in their environment, zombies left out."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for pid in _numbers():
        with contextlib.suppress(OSError):
            if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def kin(root: int, mark: str) -> set[int]:
    """The process itself, its descendants, those that carry the mark, and theirs."""
    parents: dict[int, int] = {}
    for pid in _numbers():
        with contextlib.suppress(OSError, IndexError):
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    found = ({root} | set(marked(mark))) & set(parents)
    size = -1
    while len(found) != size:
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def memory_mb(pids: set[int]) -> int:
    """Proportional memory of these processes together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total >> 10


def sweep(mark: str, *, seconds: float = 5.0) -> list[int]:
    """Kill every process that carries the mark, but this one; gives those that would not die."""
    if not mark:
        return []
    end = time.monotonic() + seconds
    while True:
        found = [pid for pid in marked(mark) if pid != os.getpid()]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def _numbers() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are enough
    except OSError:
        return []  # a rung that shows no /proc has another way to find them
