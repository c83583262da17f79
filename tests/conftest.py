"""Shared by all levels: fixtures are named plugins in `tests/fix_*.py`, unpacked tools come first on PATH."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = [f"tests.{file.stem}" for file in sorted(Path(__file__).parent.glob("fix_*.py"))]
os.environ["PATH"] = f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
