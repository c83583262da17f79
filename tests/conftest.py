"""Shared by all levels: fixtures are named plugins in `tests/fix_*.py`."""

from pathlib import Path

import pytest

pytest_plugins = [f"tests.{file.stem}" for file in sorted(Path(__file__).parent.glob("fix_*.py"))]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
