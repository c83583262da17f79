"""What this machine lacks before a run has a process: the run has failed, and that nothing of it was begun is known."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.runner.test_runner import COPY, Bench

pytestmark = pytest.mark.anyio


@contextmanager
def no_room(most: int) -> Iterator[None]:
    """No file of this very process may grow beyond it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_program_that_does_not_start_is_a_run_that_never_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    target = bench.open / "file"
    job = bench.job(COPY, params={"path": str(target), "text": "x"}, isolation="none")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    result = await bench.run(job)
    assert result.status == "failed" and result.rc is None and not target.exists()
    assert "No such file or directory" in result.why and "nothing of it was begun" in result.why, result
    assert list((tmp_path / "data" / "scratch").iterdir()) == []


async def test_without_room_for_its_files_it_never_began(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    target = bench.open / "file"
    job = bench.job(COPY, params={"path": str(target), "text": "x"})
    with no_room(16):
        result = await bench.run(job)
    assert result.status == "failed" and not target.exists()
    assert "File too large" in result.why and "nothing of it was begun" in result.why, result
    again = await bench.run(job)
    assert again.status == "successful" and target.read_text() == "x"
