"""The directories of runs, and what a killed executor leaves of them.

Decides whose a directory is by a lock that the kernel gives back when its holder dies: what nobody holds is removed at
the next start of an executor, and what another one is using stays. Its name carries the mark of its run, so that
whatever else is left of that run is found by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: of a run; of one that is just being made or only tries something, and holds nothing yet
_RUN, _BRIEF = "run-", ("new-", "probe-")
_BRIEF_SECONDS = 60.0
_MARKED = re.compile(rf"{_RUN}[0-9a-f]{{32}}", re.ASCII)


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


def clear(root: Path, end: Callable[[str], None]) -> list[str]:
    """Remove what nobody holds, after `end` was told the mark of each run; gives the names."""
    gone = []
    for place in sorted(root.glob("*")) if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if not _is_ours(place):
                continue
            lock = _lock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if place.name.startswith(_RUN):
                    end(place.name.removeprefix(_RUN))
                shutil.rmtree(place, ignore_errors=True)
                gone.append(place.name)
            finally:
                os.close(lock)
    return gone


def _is_ours(place: Path) -> bool:
    """By its name and its owner: the folder may be everybody's. As root a run may have had a user of its own."""
    found = place.lstat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return False
    if place.name.startswith(_BRIEF):
        return found.st_uid == os.geteuid() and time.time() - found.st_mtime > _BRIEF_SECONDS
    return _MARKED.fullmatch(place.name) is not None


def _lock(place: Path, how: int) -> int:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
