"""Ctrl-C while modules are loaded: an interrupt in a callback of the interpreter is lost, unless it ends at once."""

from __future__ import annotations

import signal
import subprocess
import sys

from receiver.interrupt import EXIT_CODE

#: a weak reference's callback, as the interpreter has one for the lock of each module that it imports
PROGRAM = """
import contextlib, os, signal, weakref
from receiver.interrupt import ends_at_once
class Lock: pass
lock = Lock()
seen = weakref.ref(lock, lambda _: os.kill(os.getpid(), signal.SIGINT))
with {guard}:
    del lock
print("went on")
"""


def ended(guard: str, before: str = "signal.signal(signal.SIGINT, signal.default_int_handler)") -> tuple[int, str]:
    program = f"import signal\n{before}\n{PROGRAM.format(guard=guard)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_it_is_not_lost_in_a_callback() -> None:
    assert ended("contextlib.nullcontext()") == (0, "went on"), "else there is nothing to guard against"
    assert ended("ends_at_once()") == (EXIT_CODE, "")


def test_who_ignores_it_or_handles_it_goes_on_doing_so() -> None:
    assert ended("ends_at_once()", "signal.signal(signal.SIGINT, signal.SIG_IGN)") == (0, "went on")
    own = "signal.signal(signal.SIGINT, lambda *_: print('own', end=' '))"
    assert ended("ends_at_once()", own) == (0, "own went on")


def test_afterwards_it_is_an_exception_again() -> None:
    after = "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + (
        "from receiver.interrupt import ends_at_once\n"
        "with ends_at_once():\n    pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert ended("ends_at_once()", after) == (EXIT_CODE, "") and signal.SIGINT == EXIT_CODE - 128
