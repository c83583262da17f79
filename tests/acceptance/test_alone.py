"""Without anything of others (P10): no network but loopback, no Prometheus, no model, no PostgreSQL server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.acceptance.test_demo import WANTED
from tests.machine import no_network

PROGRAMS = ("bwrap", "ssh-agent", "ssh-add", "ssh", "sshd", "ssh-keygen")


def path_without_prometheus(folder: Path) -> str:
    """The same programs, except those of Prometheus."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    kept = [one for one in os.environ["PATH"].split(":") if not any(Path(one).glob("*prometheus*"))]
    return ":".join([str(folder), *kept])


def test_the_demo_needs_nobody(tmp_path: Path) -> None:
    environment = {"PATH": path_without_prometheus(tmp_path), "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    assert shutil.which("prometheus", path=environment["PATH"]) is None
    done = subprocess.run(
        [*no_network(), sys.executable, "-m", "receiver", "demo", "--auto", "--json"],
        capture_output=True, text=True, check=False, timeout=300, env=environment,
    )  # fmt: skip
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["card"], one["outcome"]) for one in results] == WANTED, done.stderr
    assert all(one["simulated"] for one in results)
    (place,) = [line.split()[-1] for line in done.stderr.splitlines() if line.startswith("the demo lives in")]
    assert (Path(place) / "data" / "postgres" / "PG_VERSION").exists()
    shutil.rmtree(place)
