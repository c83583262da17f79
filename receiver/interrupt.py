"""Ctrl-C while a program loads its modules.

Decides that it ends the process at once: an interrupt that arrives inside one of the interpreter's own callbacks, of
which importing makes many, is printed and forgotten, and the program would go on. Nothing is open yet that would have
to be closed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGINT


@contextmanager
def ends_at_once() -> Iterator[None]:
    """For imports only; an interrupt that is ignored, or handled by somebody else, stays so."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(EXIT_CODE)
