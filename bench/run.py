"""A run through our runner beside bare `ansible-playbook` of the same playbook.

What is measured: seconds of wall clock from the job to its result (sandbox, agent, child process, events, sweeping
up) minus those of `ansible-playbook` with the same tasks on the same local host, in turn. Once for a play with one
task of 0.5 s, once for a trivial one. Target: at most 0.25 s more, which nobody notices beside Ansible's own start
(0.6 s on two cores).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from bench import place
from bench.report import Measure
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent
from receiver.identity import new_id

NAME = "run"
_MOST_SECONDS = 0.25
_PLAY = """- name: Bench
  hosts: targets
  gather_facts: false
  tasks:
    - name: The one task
      {task}
"""
PLAYS = {
    "one task of 0.5 s": _PLAY.format(task="ansible.builtin.command: {argv: [sleep, '0.5']}"),
    "one trivial task": _PLAY.format(task="ansible.builtin.debug: {msg: hello}"),
}


async def measure(rounds: int, seconds: float) -> AsyncIterator[Measure]:
    """Ours and bare in turn, as often as fits into `seconds` but at least once a round."""
    with tempfile.TemporaryDirectory(prefix="gitmedic-bench-", dir=place.BASE) as folder:
        runner = AnsibleRunner(RunnerSettings(), data_dir=Path(folder))
        isolation = await runner.isolation()
        for name, play in PLAYS.items():
            (Path(folder) / "play.yml").write_text(play)
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(rounds):
                pairs: list[tuple[float, float]] = []
                end = time.perf_counter() + seconds
                while not pairs or time.perf_counter() < end:
                    pairs.append((await _ours(runner, play, isolation), await place.off_loop(_bare, Path(folder))))
                ours.append(statistics.median(one for one, _ in pairs))
                bare.append(statistics.median(other for _, other in pairs))
            yield Measure(NAME, f"{name}: through the runner ({isolation})", "s", ours)
            yield Measure(NAME, f"{name}: bare ansible-playbook", "s", bare)
            over = [one - other for one, other in zip(ours, bare, strict=True)]
            yield Measure(NAME, f"{name}: ours over bare", "s", over, "<=", _MOST_SECONDS)


async def _ours(runner: AnsibleRunner, play: str, isolation: str) -> float:
    async def record(events: Sequence[RunEvent]) -> None:
        """Nobody reads them here."""

    async def cancelled() -> bool:
        return False

    job = Job.model_validate(
        {"run_id": new_id(), "mode": "run", "playbook_id": "bench", "files": {"playbook.yml": play.encode()},
         "hosts": (JobHost(name="here", connection="local"),), "params": {}, "isolation": isolation}
    )  # fmt: skip
    begun = time.perf_counter()
    result = await runner.run(job, record, cancelled)
    took = time.perf_counter() - begun
    if result.status != "successful":
        raise SystemExit(f"the run {result.status}: {result.why}")
    return took


def _bare(folder: Path) -> float:
    inventory = folder / "inventory.ini"
    inventory.write_text(f"[targets]\nhere ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}
    begun = time.perf_counter()
    done = subprocess.run(
        [program, "-i", inventory, folder / "play.yml"], capture_output=True, text=True, check=False, env=environment
    )
    took = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"ansible-playbook ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return took
