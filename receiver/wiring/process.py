"""What a server and a worker have in common: their version, how they are told to stop, and where they may be."""

from __future__ import annotations

import asyncio
import os
import signal

from receiver.config import Settings
from receiver.errors import Refused

VERSION = "0.1.0"


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; a second one ends at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    return stop


def check_at_home(settings: Settings, who: str) -> None:
    """Refuse to merge and propose in a copy: the built-in forge is where the ops repository lies."""
    if settings.repo.url and not settings.forge.is_remote:
        raise Refused(
            f"starting {who}: the ops repository is only fetched here, from {settings.repo.url}",
            next_step="run it where that repository lies; repo.url is for executors elsewhere",
            reason="config",
        )
