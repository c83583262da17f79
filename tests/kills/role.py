"""Real processes of gitmedic that stop where they are told to, so that a test can kill them there and nowhere else.

    python -m tests.kills.role      # orders as JSON lines in, {"pid": …} out; its children end with it

Each child is `gitmedic serve|work …` by its own command line; forked from a process that has imported the program
already, which spares the start its second. A point is a method of the real wiring that is wrapped in that child only:
before or after it, the child writes a file and waits until it may go on. The product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.kills.points import POINTS, Stop

REACHED, GO = "reached", "go"
_PR_SET_PDEATHSIG = 1


def arm(stop: Stop, folder: Path) -> None:
    """Wrap the method; the chosen hit of it stops this process, once."""
    module, _, path = stop.where.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    method = getattr(owner, name)
    hits = 0

    def counts(arguments: inspect.BoundArguments, result: object) -> bool:
        nonlocal hits
        if not stop.when(arguments.arguments, result):
            return False
        hits += 1
        return hits == stop.hit

    signature = inspect.signature(method)

    @functools.wraps(method)
    async def wrapped(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        if not stop.after and counts(bound, None):
            await reached(folder)
        result = await method(*given, **named)
        if stop.after and counts(bound, result):
            await reached(folder)
        return result

    setattr(owner, name, wrapped)


async def reached(folder: Path) -> None:
    """Here it is killed, or told to go on; meanwhile everything else of the process goes on."""
    (folder / REACHED).write_text(str(os.getpid()))
    while not (folder / GO).exists():
        await asyncio.sleep(0.005)


def become(order: dict[str, Any]) -> None:
    """In the child: a `gitmedic` of its own session, environment and log."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    empty = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for theirs, ours in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(theirs, ours)
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["point"]:
        arm(POINTS[order["point"]].stop, Path(order["folder"]))
    sys.argv = ["gitmedic", *order["arguments"]]
    importlib.import_module("receiver.__main__").main()


def main() -> None:
    """Fork on order, until standard input ends."""
    for name in ("receiver.cli.app", "receiver.wiring.serve", "receiver.wiring.work", "receiver.supervisor"):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    while line := sys.stdin.buffer.readline():
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                become(json.loads(line))
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(json.dumps({"pid": pid, "at": time.monotonic()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
