from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.local import LocalForge
from receiver.adapters.forge.settings import LocalForgeSettings
from receiver.adapters.repo.git import OpsRepository


@pytest.fixture
def forge(pool: AsyncConnectionPool[Any], ops: OpsRepository) -> LocalForge:
    return LocalForge(pool, ops, LocalForgeSettings())
