"""The daily upkeep of the ops repository is done by a worker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.runs import RunRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.testing import World
from receiver.wiring.work import upkeep
from tests.unit.test_pipeline import FILES
from tests.unit.test_worker import until, worker_of


@pytest.mark.anyio
async def test_a_worker_packs_the_repository_and_those_of_places(
    ops: OpsRepository, bare: Path, tmp_path: Path
) -> None:
    async def nothing(*_: object) -> list[str]:
        return []

    create_ops_repository(tmp_path / "lab.git", {"README.md": b"# lab\n"}, "lab <lab@localhost>")
    lab = RunRepository(RepoSettings(path=tmp_path / "lab.git"))
    world, idle = World(FILES, RulesPlanner()), SimpleNamespace(sweep=nothing, tick=nothing, look=nothing)
    store = SimpleNamespace(locks=idle, deliveries=idle, sites=idle, memory=SimpleNamespace(vectors=None))
    settings = SimpleNamespace(forge=SimpleNamespace(is_remote=False), at=lambda place: settings)
    office: Any = SimpleNamespace(
        settings=settings, store=store, repo=ops, runs=(lab,), places=world.ports.places, agenda=idle
    )
    chores = upkeep(office)
    worker = worker_of(world, chores=chores)
    assert not (bare / "packed-refs").exists()
    packed = [folder / "objects/info/commit-graph" for folder in (bare, tmp_path / "lab.git")]
    await until(worker, lambda: all(file.exists() for file in packed))
    await lab.close()
    assert (bare / "packed-refs").exists()
    assert max(seconds for seconds, _ in chores) == 24 * 3600
    assert worker.counts.errors == 0
