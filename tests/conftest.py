"""Shared by all levels: fixtures are named plugins in `tests/fix_*.py`, unpacked tools come first on PATH."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = [f"tests.{file.stem}" for file in sorted(Path(__file__).parent.glob("fix_*.py"))]
# a shell that runs the tests in the background ignores Ctrl-C, and so would every process that they start
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["PATH"] = f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
