"""Directories of runs: held while they are used, removed when their executor was killed, and never another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.adapters.runner import ladder
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.kin import MARK
from receiver.adapters.runner.remains import clear, fresh, mark_of
from receiver.adapters.runner.settings import RunnerSettings

HOLDER = """
import sys, pathlib
from receiver.adapters.runner.remains import fresh
with fresh(pathlib.Path(sys.argv[1]), sys.argv[2]) as made:
    (made / "home").mkdir()
    print(made.name, flush=True)
    sys.stdin.read()
"""


def holder(root: Path, mark: str = "") -> tuple[subprocess.Popen[str], Path]:
    """Another executor with one run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, root, mark or uuid4().hex],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, root / process.stdout.readline().strip()


def test_what_a_killed_executor_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    dead, left = holder(root)
    living, used = holder(root)
    with fresh(root, uuid4().hex) as own:
        dead.send_signal(signal.SIGKILL)
        dead.communicate()
        assert left.is_dir()
        orphan = subprocess.Popen(["sleep", "60"], env={MARK: left.name.removeprefix("run-")})
        AnsibleRunner(RunnerSettings(), data_dir=tmp_path).clear()
        assert not left.exists() and orphan.wait(10) == -signal.SIGKILL
        assert (used / "home").is_dir() and own.is_dir(), "what another one uses, and our own"
    living.communicate("")
    assert list(root.iterdir()) == [] == clear(root, print)


@pytest.mark.anyio
async def test_who_asks_after_a_run_ends_what_a_killed_executor_left_of_it(tmp_path: Path) -> None:
    runner = AnsibleRunner(RunnerSettings(), data_dir=tmp_path)
    process, left = holder(tmp_path / "scratch", mark_of("a run"))
    orphan = subprocess.Popen(["sleep", "60"], env={MARK: left.name.removeprefix("run-")})
    assert await runner.is_over("another run") and not await runner.is_over("a run")
    assert orphan.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert await runner.is_over("a run") and not left.exists() and orphan.wait(10) == -signal.SIGKILL


def test_only_what_is_of_a_run_and_old_is_removed(tmp_path: Path) -> None:
    old = f"run-{uuid4().hex}"
    for name in ("else", "run-else", "new-1", "new-2", "probe-1", old):
        (tmp_path / name).mkdir()
    (tmp_path / f"run-{uuid4().hex}").symlink_to(tmp_path / "else")
    os.utime(tmp_path / "new-2", (0, 0))
    told: list[str] = []
    assert clear(tmp_path, told.append) == ["new-2", old]
    assert told == [old.removeprefix("run-")]
    left = {one.name for one in tmp_path.iterdir() if not one.is_symlink()}
    assert left == {"else", "run-else", "new-1", "probe-1"}
    assert clear(tmp_path / "never", told.append) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
def test_what_another_user_put_there_stays(tmp_path: Path) -> None:
    ours, theirs = (tmp_path / f"run-{uuid4().hex}" for _ in range(2))
    for place, uid in ((ours, 61200), (theirs, 1000)):
        place.mkdir()
        os.chown(place, uid, uid)
    told: list[str] = []
    assert clear(tmp_path, told.append, ladder.uids_of("apart")) == [ours.name]
    assert theirs.is_dir() and told == [ours.name.removeprefix("run-")]
    assert clear(tmp_path, told.append) == [] and ladder.uids_of("same") == ()
