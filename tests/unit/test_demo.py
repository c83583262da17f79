"""Cleaning up after demos: only what is marked, ours and idle."""

import fcntl
import os
from pathlib import Path

import pytest

from receiver.demo import rig


def test_clean_takes_only_what_is_marked_and_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "BASE", tmp_path)
    said: list[str] = []
    idle, lock = rig._make_place()
    os.close(lock)
    starting, held = rig._make_place()
    foreign = tmp_path / f"{rig.PREFIX}foreign"
    foreign.mkdir()
    (tmp_path / f"{rig.PREFIX}link").symlink_to(foreign)
    running, idle_lock = rig._make_place()
    os.close(idle_lock)
    (running / "data").mkdir()
    owner = os.open(running / "data" / "owner.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        assert rig.clean(said.append) == 1
        assert not idle.exists() and starting.exists() and foreign.exists() and running.exists()
    finally:
        os.close(held)
        os.close(owner)
    assert rig.clean(said.append) == 2 and foreign.exists()


def test_a_demo_that_cleans_up_after_itself_leaves_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "BASE", tmp_path)
    mine, lock = rig._make_place()
    other, other_lock = rig._make_place()
    os.close(lock)
    os.close(other_lock)
    assert rig.clean([].append, only=mine) == 1
    assert not mine.exists() and other.exists()
