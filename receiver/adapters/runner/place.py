"""A run's private place: what it may see of secrets lies there, in memory where the machine has such a file system.

Decides that the place has a keeper, a process that ends the agent and removes the place as soon as the executor is
gone, however it went. The run sees it as `agent` in its own directory, and nobody else sees it.

    sock              the agent, for SSH
    secrets/<name>    tokens and passwords; a play finds the folder in `gm_secret_dir`
    become            the sudo password
    vault/<id>        passwords of ansible-vault
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from receiver.adapters.runner.credentials import Revealed
from receiver.adapters.runner.seen import BECOME, SECRETS, SOCKET, VAULT

#: in the place: all of it once more, for a run that is another user
SHOWN = "shown"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_TMPFS = "tmpfs"
#: ends by itself when its standard input does, which is when the executor closes it or is no more
_KEEPER = """
trap '' HUP INT TERM
if [ -n "$2" ]; then ssh-agent -D -a "$2" >/dev/null 2>&1 & agent=$!; fi
cat >/dev/null
if [ -n "$agent" ]; then kill -KILL "$agent" 2>/dev/null; wait "$agent" 2>/dev/null; fi
rm -rf -- "$1" "$3"
"""


@asynccontextmanager
async def private_place(revealed: Revealed, shown: Path, *, with_agent: bool) -> AsyncIterator[Path | None]:
    """The place of one run, with its secrets in it; None when there is nothing to keep. Ends with the run.

    `shown` is where it may be laid out for the run; that goes with it.
    """
    if not (with_agent or revealed.for_the_play):
        yield None
        return
    # its path is short: that of a socket has at most 107 bytes
    own = Path(tempfile.mkdtemp(prefix="gm-agent-", dir=_memory()))
    socket = str(own / SOCKET) if with_agent else ""
    keeper = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", _KEEPER, "sh", str(own), socket, str(shown),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        _lay(own, revealed)
        yield own
    finally:
        await _end(keeper)
        shutil.rmtree(own, ignore_errors=True)


def lay_out(own: Path, folder: Path) -> None:
    """The secrets once more, for a run that is somebody else: who it is will own them."""
    for name in (SECRETS, VAULT, BECOME):
        for source in sorted([own / name, *(own / name).glob("*")]):
            target = folder / source.relative_to(own)
            if source.is_dir():
                target.mkdir(mode=0o700)
            elif source.is_file():
                _write(target, source.read_bytes())


def _lay(own: Path, revealed: Revealed) -> None:
    for folder, values in ((SECRETS, revealed.secrets), (VAULT, revealed.vaults)):
        if values:
            (own / folder).mkdir(mode=0o700)
        for name, value in values.items():
            _write(own / folder / name, value)
    if revealed.become is not None:
        _write(own / BECOME, revealed.become)


def _write(file: Path, value: bytes) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(handle, "wb") as stream:
        stream.write(value)


def _memory() -> Path | None:
    """A file system that never reaches a disk; None: the machine has none that we may use."""
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    kinds = {line.split()[1]: line.split()[2] for line in mounts if len(line.split()) > 2}
    return _MEMORY if kinds.get(str(_MEMORY)) == _TMPFS else None


async def _end(keeper: asyncio.subprocess.Process) -> None:
    if keeper.stdin is not None:
        keeper.stdin.close()
    try:
        await asyncio.wait_for(keeper.wait(), 3)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(keeper.pid, signal.SIGKILL)
        await keeper.wait()
