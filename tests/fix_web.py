"""The front door, opened for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.door import Door, opened


@pytest.fixture
async def door(database: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Sources `prom` and `other`, people `anna` and `guest`."""
    async with opened(database, tmp_path) as made:
        yield made
