"""The demo, as a new user starts it: four incidents, real and simulated, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import required

BASE = Path("/var/tmp")
WANTED = [("cache", "fixed"), ("web", "fixed"), ("mystery", "notified"), ("queue", "not_fixed")]


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITMEDIC_")}
    return subprocess.run(
        [sys.executable, "-m", "receiver", "demo", "--auto", "--json", *options],
        capture_output=True, text=True, check=False, timeout=300, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("simulated", [False, True], ids=["prometheus", "probe"])
def test_four_cards_end_as_named(simulated: bool) -> None:
    if not simulated:
        required("prometheus")
        required("alertmanager")
    done = demo(*(["--simulated"] if simulated else []))
    places = [line.split()[-1] for line in done.stderr.splitlines() if line.startswith("the demo lives in")]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    log = "\n".join((Path(place) / "up.log").read_text()[-4000:] for place in places)
    assert [(one["card"], one["outcome"]) for one in results] == WANTED, done.stderr + log
    assert done.returncode == 0
    assert all(one.get("simulated", False) is simulated for one in results)
    assert all(one["case"] and one["seconds"] > 0 for one in results)
    (place,) = map(Path, places)
    assert list((place / "cache").iterdir()) == []  # really deleted
    left = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and str(place).encode() in _command(entry)
    ]
    assert left == []
    shutil.rmtree(place)  # not by --clean, which would take the other test's demo as well


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
