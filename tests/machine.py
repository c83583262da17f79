"""What tests ask of the machine: programs and free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.adapters.runner.keeper import landlock_version

_ROOM_BYTES = 4 << 30


def required(program: str) -> str:
    """Where a program is; with CI=true a missing one fails, else the test is skipped."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not here: make test unpacks it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def collections() -> Path:
    """Where the unpacked Ansible collections are; missing ones fail with CI=true, else the test is skipped."""
    place = Path(__file__).parents[1] / ".tools" / "collections"
    if not (place / "prepared").is_file():
        message = "the Ansible collections are not here: make test unpacks them"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return place


def landlock() -> None:
    """The kernel has Landlock; without it the test fails with CI=true, else it is skipped."""
    if landlock_version() == 0:
        message = "landlock is not in this kernel, or not turned on: docs/howto/isolation.md"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def quick_folder() -> Path:
    """Where a database of tests lies: in memory where there is room for it, since each test makes hundreds of files.

    As root its server has a user of its own, who must be able to enter the place.
    """
    memory = Path("/dev/shm")
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    is_memory = [str(memory), "tmpfs"] in mounts and os.access(memory, os.W_OK | os.X_OK)
    return memory if is_memory and shutil.disk_usage(memory).free > _ROOM_BYTES else Path("/var/tmp")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_tmpfs(place: Path, megabytes: int) -> list[str]:
    """The beginning of a command that runs on a small disk of its own, mounted for it alone; pids stay the same."""
    return _apart("-m", f"mount -t tmpfs -o size={megabytes}m,mode=0755 gitmedic-test {place} && cd /")


def no_network() -> list[str]:
    """The beginning of a command that has a loopback of its own, and no other network."""
    # SIOCSIFFLAGS: up and running; `ip` is not everywhere
    up = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
    return _apart("-n", f'{sys.executable} -c "{up}"')


def _apart(what: str, prepare: str) -> list[str]:
    """A namespace of its own, without root's help where that is allowed; else the test is skipped."""
    if os.geteuid() == 0:
        begin = ["unshare", what, "sh", "-c", f'{prepare} && exec "$@"', "sh"]
    else:  # root of a namespace may prepare it; then this user again, whom PostgreSQL accepts
        back = f"unshare -U --map-user={os.geteuid()} --map-group={os.getegid()}"
        begin = ["unshare", "-Ur", what, "sh", "-c", f'{prepare} && exec {back} "$@"', "sh"]
    done = subprocess.run([*begin, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"no namespace of one's own here: {done.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return begin
