"""What a run may use: each limit ends it, is named, and leaves nothing; and input that goes wrong on purpose."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.limits import cause
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent, Rung, RunResult
from receiver.identity import new_id
from tests.machine import landlock, required

pytestmark = pytest.mark.anyio
PYTHON = '["{{ ansible_python_interpreter }}", -I, -S, -c, "{{ gm_code }}"]'
TASK = f"- name: Do it\n  ansible.builtin.command:\n    argv: {PYTHON}\n"


def job(code: str, rung: Rung, task: str = TASK, **more: Any) -> Job:
    if rung == "landlock":
        landlock()
    if rung == "bwrap":
        required("bwrap")
    play = "- name: Test\n  hosts: targets\n  gather_facts: false\n  tasks:\n" + textwrap.indent(task, "    ")
    values: dict[str, Any] = {
        "run_id": new_id(), "mode": "run", "playbook_id": "t", "files": {"playbook.yml": play.encode()},
        "hosts": (JobHost(name="here", connection="local"),), "params": {"code": code}, "isolation": rung,
        "timeout_seconds": 240,
    }  # fmt: skip
    return Job.model_validate(values | more)


async def run(base: Path, given: Job) -> RunResult:
    async def record(events: Sequence[RunEvent]) -> None:
        """Nobody reads them here."""

    async def never() -> bool:
        return False

    result = await AnsibleRunner(RunnerSettings(), data_dir=base / "data").run(given, record, never)
    assert list((base / "data" / "scratch").iterdir()) == []
    return result


FILL = """
import os, time
with open(os.environ["HOME"] + "/filler", "wb") as file:
    for _ in range(80):
        file.write(b"x" * (1 << 20))
        file.flush()
time.sleep(600)
"""
#: code, limits, the limit that it meets
OVER = {
    "a full scratch directory": (FILL, {"scratch_mb": 32}, "scratch_mb"),
    "a file that is too large": (FILL, {"file_mb": 16}, "file_mb"),
    "files that stay open": ("kept = [open('/dev/null') for _ in range(300)]", {"open_files": 256}, "open_files"),
    "memory of several": (
        'import subprocess, sys; eat = \'import time; x = bytearray(150 << 20); x[::4096] = b"x" * len(x[::4096]); '
        "time.sleep(600)'; [p.wait() for p in [subprocess.Popen([sys.executable, '-c', eat]) for _ in range(3)]]",
        {"memory_mb": 400},
        "memory_mb",
    ),
    "processes": (
        "import subprocess; [p.wait() for p in [subprocess.Popen(['/bin/sleep', '600']) for _ in range(90)]]",
        {"processes": 60},
        "processes",
    ),
}


@pytest.mark.parametrize(
    ("name", "rung"),
    [(name, "bwrap") for name in OVER] + [("a full scratch directory", "landlock"), ("processes", "landlock")],
)
async def test_a_limit_ends_a_run_and_is_named(tmp_path: Path, name: str, rung: Rung) -> None:
    code, limits, key = OVER[name]
    result = await run(tmp_path, job(code, rung, **limits))
    assert (result.status, result.limit) == ("failed", key), result
    assert f"limits.{key} of its catalog.yml" in result.why and str(limits[key]) in result.why


async def test_a_loop_and_a_pause_end_with_their_time(tmp_path: Path) -> None:
    for task in (TASK, "- name: Ask\n  ansible.builtin.pause: {prompt: really}\n"):
        result = await run(tmp_path, job("while True: pass", "bwrap", task, timeout_seconds=3))
        assert (result.status, result.limit) == ("timeout", "timeout_seconds"), result


async def test_a_hundred_megabytes_of_output_end_in_words(tmp_path: Path) -> None:
    code = "import sys; [sys.stdout.write('x' * (1 << 20)) for _ in range(100)]"
    result = await run(tmp_path, job(code, "bwrap", timeout_seconds=8))
    # Ansible's own module gathers it, ever slower: it is the memory or the time that ends it, never the executor
    assert result.limit in ("memory_mb", "output_mb", "timeout_seconds"), result
    assert "of its catalog.yml" in result.why and len(result.output) < 1 << 20


def test_a_full_disk_on_a_target_is_not_our_limit() -> None:
    said = "here: Do it: [Errno 28] No space left on device"
    local = job("", "bwrap")
    remote = local.model_copy(update={"hosts": (JobHost(name="web1", address="192.0.2.1"),)})
    assert cause(local, said, was_full=False) == "scratch_mb" and cause(remote, said, was_full=False) == ""
    assert cause(remote, "", was_full=True) == "scratch_mb"
    assert cause(local, "the disk is gone", was_full=False) == ""
