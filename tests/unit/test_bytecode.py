"""Bytecode for runs: what is missing is seen and made once, and none where it may not be written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from receiver.adapters.runner import bytecode


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own that no one has compiled."""
    folder = tmp_path / "gm_loaded"
    folder.mkdir()
    for name in ("__init__.py", "part.py"):
        (folder / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bytecode, "_LOADED", {"gm_loaded": "part.py", "no_such_package": "x.py"})
    return folder


def test_what_is_missing_is_made_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert bytecode.missing() == [package]
    assert bytecode.compile_missing() == [package]
    assert Path(importlib.util.cache_from_source(str(package / "part.py"))).exists()
    assert bytecode.missing() == bytecode.compile_missing() == []


def test_what_takes_too_long_is_left_to_the_next_start(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert bytecode.compile_missing(seconds=0.0) == [package]
    assert bytecode.missing() == [package]


def test_an_installation_goes_on_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("prepare", Path(__file__).parents[2] / "setup" / "prepare.py")
    assert spec is not None and spec.loader is not None
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    prepare.VENV, prepare.COMPILE_SECONDS = tmp_path, 3.0
    python, begun = tmp_path / "bin" / "python", tmp_path / "begun"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {begun}.new; mv {begun}.new {begun}; wait\n")
    python.chmod(0o755)
    prepare.compile_bytecode([tmp_path])
    assert "took longer than 3 s and was left" in capsys.readouterr().err
    status = Path("/proc", begun.read_text().strip(), "stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"  # nobody may reap it here


def test_who_wants_none_gets_none(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert bytecode.compile_missing() == [] and not (package / "__pycache__").exists()


def test_the_modules_that_are_looked_at_are_there() -> None:
    for name, module in bytecode._LOADED.items():
        spec = importlib.util.find_spec(name)
        assert spec is not None and Path((spec.submodule_search_locations or [""])[0], module).exists(), name
