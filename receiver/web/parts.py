"""What the web is given; it reaches for nothing else."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from receiver.doors import Doors
from receiver.ports import Access, Archive, Receipt, Repo
from receiver.web.hooks.commit import GroupCommit


def trace_of(error: BaseException) -> str:
    """A traceback for the log without the values of variables: they hold secrets, and take seconds to print."""
    return "".join(traceback.format_exception(error))[-8000:]


@dataclass(frozen=True)
class Parts:
    """Ports and small functions, put together by the wiring."""

    commit: GroupCommit
    access: Access
    archive: Archive
    doors: Doors
    repo: Repo
    ready: Callable[[], Awaitable[None]]
    metrics: Callable[[], Awaitable[bytes]]
    counted: Callable[[int, Receipt | None, float], None]
    sources: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    version: str = "0.1.0"
    stop: asyncio.Event = field(default_factory=asyncio.Event)
