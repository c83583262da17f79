"""The directories of runs, and what a killed executor leaves of them.

Decides whose a directory is by a lock that the kernel gives back when its holder dies: what nobody holds is removed at
the next start of an executor, or when somebody asks after its run, and what another one is using stays. Its name
carries the mark of its run, so that whatever else is left of that run is found by it; a mark begins with what names the
run, so that it is found by whoever knows only that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from receiver.adapters.runner.groups import groups_of
from receiver.adapters.runner.kin import sweep

#: of a run; of one that is just being made or only tries something, and holds nothing yet
_RUN, _BRIEF = "run-", ("new-", "probe-")
_BRIEF_SECONDS = 60.0
#: how many characters of a mark name its run: two runs of one executor never share them
_NAMED = 16
_MARKED = re.compile(rf"{_RUN}[0-9a-f]{{32}}", re.ASCII)


def mark_of(run: str) -> str:
    """A new mark for one child process of this run."""
    return _named(run) + uuid4().hex[: 32 - _NAMED]


def _named(run: str) -> str:
    return sha256(run.encode()).hexdigest()[:_NAMED]


@contextmanager
def fresh(root: Path, mark: str) -> Iterator[Path]:
    """A directory of the run with this mark, held until it ends and then removed."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=_BRIEF[0], dir=root))
    lock = _lock(made, fcntl.LOCK_EX)
    made = made.rename(root / f"{_RUN}{mark}")  # held before it has the name that is looked for
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def end_run(mark: str) -> None:
    """Nothing that carries this mark stays alive."""
    sweep(mark)
    groups_of(mark).end()


def clear(root: Path, end: Callable[[str], None] = end_run, uids: Container[int] = ()) -> list[str]:
    """Remove what nobody holds, after `end` was told the mark of each run; gives the names.

    `uids` are those that a run may have beside our own: its directory is its.
    """
    gone = []
    for place in sorted(root.glob("*")) if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if _is_ours(place, uids):
                _remove(place, end)
                gone.append(place.name)
    return gone


def is_over(root: Path, run: str, uids: Container[int] = ()) -> bool:
    """Whether nobody holds a directory of this run any more; what one that died left of it is ended and removed."""
    for place in root.glob(f"{_RUN}{_named(run)}*") if root.is_dir() else ():
        try:
            if _is_ours(place, uids):
                _remove(place, end_run)
        except FileNotFoundError:
            continue  # its holder has just ended it
        except OSError:
            return False
    return True


def _remove(place: Path, end: Callable[[str], None]) -> None:
    """`BlockingIOError` when somebody holds it."""
    lock = _lock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        if place.name.startswith(_RUN):
            end(place.name.removeprefix(_RUN))
        shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)


def _is_ours(place: Path, uids: Container[int]) -> bool:
    """By its name and its owner: the folder may be everybody's."""
    found = place.lstat()
    if place.name.startswith(_BRIEF):
        return found.st_uid == os.geteuid() and time.time() - found.st_mtime > _BRIEF_SECONDS
    is_of_a_run = found.st_uid == os.geteuid() or found.st_uid in uids
    return is_of_a_run and _MARKED.fullmatch(place.name) is not None


def _lock(place: Path, how: int) -> int:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
