"""Control groups: made where they can be, with a reason where not, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from receiver.adapters.runner import groups
from receiver.adapters.runner.ladder import Found

#: tries to have more processes than it may
MANY = """
import subprocess
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
[subprocess.Popen(["/bin/sleep", "60"], **quiet) for _ in range(40)]
"""
NAME = "0" * 31


def test_what_a_group_holds_is_held_and_what_none_holds_is_said() -> None:
    why = groups.lacking()
    made = groups.open_groups(NAME, 256, 8)
    try:
        if "processes" in why:
            assert why.startswith("no control group holds ") and ": " in why
            return
        join = 'for door in "$@"; do echo 0 > "$door" || exit 125; done; exec "$PYTHON" -I -S -c "$CODE"'
        done = subprocess.run(
            ["/bin/sh", "-c", join, "sh", *made.doors], env={"PYTHON": sys.executable, "CODE": MANY},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Resource temporarily unavailable" in done.stderr and made.met() == "processes"
    finally:
        made.end()
    assert groups.groups_of(NAME).folders == ()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of version 2 as systemd hands them on: our process in a subgroup of its service."""
    service = tmp_path / "system.slice" / "gitmedic.service"
    (service / "executor").mkdir(parents=True)
    (tmp_path / "cgroup.controllers").touch()
    (service / "cgroup.subtree_control").touch()
    (tmp_path / "own").write_text("0::/system.slice/gitmedic.service/executor\n")
    monkeypatch.setattr(groups, "_ROOT", tmp_path)
    monkeypatch.setattr(groups, "_OWN", tmp_path / "own")
    return service


def test_version_two_has_one_folder_with_both_beside_our_own(tree: Path) -> None:
    made = groups.open_groups(NAME, 256, 8)
    assert made.folders == (tree / f"gitmedic-{NAME}",)
    assert (tree / "cgroup.subtree_control").read_text() == "+memory +pids"
    said = {file.name: file.read_text() for file in made.folders[0].iterdir()}
    assert said == {"memory.max": str(256 << 20), "pids.max": "8"}


def test_what_is_not_handed_on_is_said_with_its_place(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "cgroup.subtree_control").unlink()
    why = groups.lacking()
    assert why == f"no control group holds memory and processes: making one in {tree}: No such file or directory"
    assert sorted(one.name for one in tree.iterdir()) == ["executor"]
    assert f"netns. {why}; they are looked at twice a second" == Found("netns", groups=why).words
    monkeypatch.setattr(groups, "_OWN", tree / "absent")
    assert groups.lacking().endswith(": none is mounted that could be used")
