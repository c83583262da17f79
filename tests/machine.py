"""What tests ask of the machine: programs and free ports."""

from __future__ import annotations

import os
import shutil
import socket

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
