"""What is left on a target when a run ends early: the far side of SSH, on a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent, Rung
from receiver.identity import new_id
from tests.fix_sshd import SshHost
from tests.integration.runner.test_escapes import has, running, unique
from tests.integration.runner.test_ssh import Key

pytestmark = pytest.mark.anyio
PLAY = """
- name: Far
  hosts: targets
  gather_facts: false
  tasks:
    - name: Stay
      ansible.builtin.command:
        argv: [{words}sleep, "{{{{ gm_seconds }}}}"]
"""


def job(host: SshHost, words: str, seconds: str, rung: Rung) -> Job:
    target = JobHost(name="far", address="127.0.0.1", port=host.port, user=host.user, python="/usr/bin/python3")
    return Job(
        run_id=new_id(), mode="run", playbook_id="t", files={"playbook.yml": PLAY.format(words=words).encode()},
        hosts=(target,), params={"seconds": seconds}, credentials=("ssh",), isolation=rung,
    )  # fmt: skip


async def cancelled(base: Path, key: Key, host: SshHost, given: Job, seconds: str) -> None:
    """Run until the far side sleeps, then cancel."""
    (base / "data").mkdir(exist_ok=True)
    (base / "data" / "known_hosts").write_text(f"{host.known_line}\n")
    runner = AnsibleRunner(RunnerSettings(), data_dir=base / "data", credentials={"ssh": key.credential})
    stop = asyncio.Event()

    async def record(events: Sequence[RunEvent]) -> None:
        """Nobody reads them here."""

    async def asked() -> bool:
        return stop.is_set()

    task = asyncio.create_task(runner.run(given, record, asked))
    async with asyncio.timeout(60):
        while not running("sleep", seconds):
            await asyncio.sleep(0.05)
    stop.set()
    assert (await task).status == "cancelled"


async def gone(seconds: str, within: float = 30) -> bool:
    end = time.monotonic() + within
    while running("sleep", seconds) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return not running("sleep", seconds)


@pytest.mark.parametrize("rung", ["netns", "landlock"])
async def test_what_waits_on_its_terminal_ends_with_the_connection(
    tmp_path: Path, ssh_hosts: Callable[[str, str], SshHost], rung: Rung
) -> None:
    has(rung)
    key, seconds = Key(tmp_path), unique()
    host = ssh_hosts("far", key.public)
    await cancelled(tmp_path, key, host, job(host, "", seconds, rung), seconds)
    assert await gone(seconds)


async def test_what_left_its_session_on_the_target_stays_there(
    tmp_path: Path, ssh_hosts: Callable[[str, str], SshHost]
) -> None:
    """What docs/howto/isolation.md says: no end of a run reaches it."""
    has("netns")
    key, seconds = Key(tmp_path), unique()
    host = ssh_hosts("far", key.public)
    await cancelled(tmp_path, key, host, job(host, "setsid, ", seconds, "netns"), seconds)
    try:
        assert not await gone(seconds, within=2)
    finally:
        for pid in running("sleep", seconds):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
