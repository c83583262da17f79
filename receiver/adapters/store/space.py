"""Whether the disk of the data directory still takes what the embedded PostgreSQL must write.

Decides from which point on a disk counts as full: when the next piece of PostgreSQL's log would not fit, no commit
can be promised, though small ones may still happen to succeed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import structlog

from receiver.errors import Unavailable

log = structlog.get_logger()
#: one WAL segment of PostgreSQL
LEAST_BYTES = 16 << 20
_LOOK_SECONDS = 2.0


def no_space(data_dir: Path) -> str:
    """Why its disk counts as full; empty while it does not."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(data_dir).free
        if free < LEAST_BYTES:
            return f"the disk of {data_dir} is full: {free / (1 << 20):.1f} MB free, {LEAST_BYTES >> 20} MB needed"
    return ""


def check_space(data_dir: Path) -> None:
    """Raises `Unavailable` while its disk is full."""
    if said := no_space(data_dir):
        raise Unavailable(said)


async def watch_space(data_dir: Path) -> None:
    """Say it when the disk becomes full and when it has room again; for as long as the owner lives."""
    was = ""
    while True:
        said = no_space(data_dir)
        if said and not was:
            log.error("disk.full", error=said, next_step="free some space; nothing needs to be started again")
        elif was and not said:
            log.info("disk.has_room_again", was=was)
        was = said
        await asyncio.sleep(_LOOK_SECONDS)
