"""What an embedded PostgreSQL that died leaves behind, and how it is put away before the next one starts.

Decides whose the remains are: processes of this very cluster, never a foreign one that was given the same number.
PostgreSQL's own lock is the pid file; it is taken away only when no process of the cluster lives any more, for a
backend that outlives its server for a moment still writes into its memory and files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from receiver.errors import Unavailable

_STOPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def put_away(cluster: Path) -> None:
    """End what is left of a server that died, then forget its pid file; raises `Unavailable` when it will not end."""
    file = cluster / "postmaster.pid"
    if not file.exists():
        return
    pid = int(file.read_text().split("\n", 1)[0] or 0)
    if _is_server(pid, cluster):
        _end(lambda: [pid] if _is_server(pid, cluster) else [])
    # without their server they end by themselves, unless they are busy
    _end(lambda: _inside(cluster))
    left = _inside(cluster)
    if left:
        raise Unavailable(f"starting PostgreSQL: process {left[0]} of the one before is still in {cluster}")
    file.unlink(missing_ok=True)


def _end(alive: Callable[[], list[int]]) -> None:
    for sent, seconds in _STOPS:
        for pid in alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
        end = time.monotonic() + seconds
        while alive() and time.monotonic() < end:
            time.sleep(0.05)


def _is_server(pid: int, cluster: Path) -> bool:
    """A process with that pid is a postgres of this very directory; pids are given anew."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(cluster).encode() in command


def _inside(cluster: Path) -> list[int]:
    """Processes that work in the cluster's directory, as every process of a server does."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == cluster and _is_postgres(entry):
                    found.append(int(entry.name))
    return found


def _is_postgres(entry: Path) -> bool:
    # a shell that somebody opened there is none
    return (entry / "comm").read_text().startswith("postgres")
