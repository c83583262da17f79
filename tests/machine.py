"""What tests ask of the machine: programs and free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest


def required(program: str) -> str:
    """Where a program is; with CI=true a missing one fails, else the test is skipped."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not here: make test unpacks it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_tmpfs(place: Path, megabytes: int) -> list[str]:
    """The beginning of a command that runs on a small disk of its own, mounted for it alone; pids stay the same."""
    mount = f"mount -t tmpfs -o size={megabytes}m,mode=0755 gitmedic-test {place} && cd / &&"
    if os.geteuid() == 0:
        begin = ["unshare", "-m", "sh", "-c", f'{mount} exec "$@"', "sh"]
    else:  # root of a namespace may mount; then this user again, whom PostgreSQL accepts
        back = f"unshare -U --map-user={os.geteuid()} --map-group={os.getegid()}"
        begin = ["unshare", "-Urm", "sh", "-c", f'{mount} exec {back} "$@"', "sh"]
    done = subprocess.run([*begin, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"no mount of one's own here: {done.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return begin
