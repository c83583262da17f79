"""The daily upkeep of the ops repository is done by a worker."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.repo.git import OpsRepository
from receiver.testing import World
from receiver.wiring import upkeep
from tests.unit.test_pipeline import FILES
from tests.unit.test_worker import until, worker_of


@pytest.mark.anyio
async def test_a_worker_packs_the_repository(ops: OpsRepository, bare: Path) -> None:
    async def sweep() -> list[str]:
        return []

    swept = SimpleNamespace(sweep=sweep)
    store = SimpleNamespace(locks=swept, deliveries=swept, memory=SimpleNamespace(vectors=None))
    settings = SimpleNamespace(forge=SimpleNamespace(is_remote=False))
    office = SimpleNamespace(settings=settings, store=store, repo=ops)
    chores = upkeep(office)
    worker = worker_of(World(FILES, RulesPlanner()), chores=chores)
    assert not (bare / "packed-refs").exists()
    await until(worker, (bare / "objects/info/commit-graph").exists)
    assert (bare / "packed-refs").exists()
    assert max(seconds for seconds, _ in chores) == 24 * 3600
    assert worker.counts.errors == 0
