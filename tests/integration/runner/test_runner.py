"""Real Ansible in a real sandbox: what a run does, what it cannot do, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner import ansible
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent, RunResult
from receiver.identity import new_id
from tests.machine import landlock

ROOT = Path(__file__).parents[3]
RUNGS = ("bwrap", "landlock", "none")


class Bench:
    """A runner in a directory of the test's own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.open = base / "open"
        self.open.mkdir()
        (base / "data").mkdir(mode=0o700)
        (base / "data" / "secret").write_text("the password")
        self.runner = AnsibleRunner(RunnerSettings(), data_dir=base / "data")
        self.events: list[RunEvent] = []
        self.stop = False

    def job(self, tasks: str, **more: Any) -> Job:
        if more.get("isolation") == "landlock":
            landlock()
        play = "- name: Test\n  hosts: targets\n  gather_facts: false\n  tasks:\n"
        host = JobHost(
            name="here",
            connection="local",
            writable=(str(self.open),),
            variables=more.pop("variables", {}),
        )
        values: dict[str, Any] = {
            "run_id": new_id(),
            "mode": "run",
            "playbook_id": "test_play",
            "files": {"playbook.yml": (play + textwrap.indent(textwrap.dedent(tasks), "    ")).encode()},
            "hosts": (host,),
            "params": {},
            "isolation": "bwrap",
            "timeout_seconds": 60,
        }
        return Job.model_validate(values | more)

    async def run(self, job: Job) -> RunResult:
        async def record(events: Sequence[RunEvent]) -> None:
            self.events.extend(events)

        async def cancelled() -> bool:
            return self.stop

        return await self.runner.run(job, record, cancelled)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


COPY = """
- name: Write
  ansible.builtin.copy:
    dest: "{{ gm_path }}"
    content: "{{ gm_text }}"
    mode: "0600"
"""


@pytest.mark.anyio
async def test_a_rehearsal_shows_and_changes_nothing_and_a_run_changes(bench: Bench) -> None:
    target = bench.open / "file"
    params = {"path": str(target), "text": "hello\n"}
    check = await bench.run(bench.job(COPY, mode="check", params=params))
    assert check.status == "successful", check
    assert check.changes == ("here: Write",) and "+hello" in check.diff and not target.exists()
    run = await bench.run(bench.job(COPY, params=params))
    assert run.status == "successful" and target.read_text() == "hello\n"
    again = await bench.run(bench.job(COPY, params=params))
    assert again.status == "successful" and again.changes == ()
    assert [event.kind for event in bench.events].count("changed") == 2
    assert list((bench.base / "data" / "scratch").iterdir()) == []


JINJA = "{{ lookup('pipe', 'touch %s') }}"


@pytest.mark.anyio
@pytest.mark.parametrize("isolation", RUNGS)
async def test_a_template_in_a_value_is_never_evaluated(bench: Bench, isolation: str) -> None:
    payload = JINJA % (bench.open / "pwned")
    tasks = """
    - name: Use
      ansible.builtin.debug:
        msg: "{{ gm_text }} {{ note }} {{ deep.list[0].key }}"
    """
    job = bench.job(
        tasks,
        params={"text": payload},
        variables={"note": payload, "deep": {"list": [{"key": payload}]}},
        isolation=isolation,
    )
    result = await bench.run(job)
    assert not (bench.open / "pwned").exists()
    assert set(result.stats) == {"here"}, result.why  # the task was reached; Ansible refused to evaluate the text


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["ansible_host", "x-y", "X", "a b", "ansible_python_interpreter", ""])
async def test_a_magic_name_never_enters_a_run(bench: Bench, name: str) -> None:
    for job in (bench.job(COPY, params={name: "x"}), bench.job(COPY, variables={name: "x"})):
        if name.startswith("ansible_") and job.params:
            continue  # a parameter is prefixed, `gm_ansible_host` means nothing
        assert (await bench.run(job)).status == "failed"


@pytest.mark.anyio
async def test_what_a_run_cannot_see_or_do(bench: Bench) -> None:
    other = bench.base / "other"
    other.mkdir()
    probe = f"""
import json, os, subprocess
def tries(do):
    try:
        return bool(do())
    except Exception:
        return False
seen = {{
    "secret": tries(lambda: open({str(bench.base / "data" / "secret")!r}).read()),
    "shadow": tries(lambda: open("/etc/shadow").read()),
    "home": tries(lambda: os.listdir("/root") and any("bash" in n for n in os.listdir("/root"))),
    "write_other": tries(lambda: open({str(other / "x")!r}, "w").write("x")),
    "write_usr": tries(lambda: open("/usr/x", "w").write("x")),
    "write_package": tries(lambda: open({str(ROOT / "receiver" / "x.py")!r}, "w").write("x")),
    "remount": subprocess.run(["mount", "-o", "remount,rw", "/usr"], capture_output=True).returncode == 0,
    "many_processes": len([p for p in os.listdir("/proc") if p.isdigit()]) > 60,
    "pid_of_test": tries(lambda: open("/proc/{os.getpid()}/environ").read()),
    "canary": "CANARY" in json.dumps(dict(os.environ)),
    "capabilities": int([l for l in open("/proc/self/status") if l.startswith("CapEff")][0].split()[1], 16) != 0,
}}
open({str(bench.open / "seen")!r}, "w").write(json.dumps([k for k, v in seen.items() if v]))
"""
    tasks = """
    - name: Look around
      ansible.builtin.command:
        argv: ["{{ ansible_python_interpreter }}", "-c", "{{ gm_code }}"]
    """
    os.environ["CANARY"] = "CANARY"
    try:
        result = await bench.run(bench.job(tasks, params={"code": probe}))
    finally:
        del os.environ["CANARY"]
    assert result.status == "successful", result
    assert (bench.open / "seen").read_text() == "[]"


SLEEP = """
- name: Sleep
  ansible.builtin.command:
    argv: [setsid, sleep, "{{ gm_seconds }}"]
"""


def sleepers(seconds: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"sleep" in words and seconds.encode() in words:
                found.append(entry.name)
    return found


async def sleeping(seconds: str) -> None:
    async with asyncio.timeout(30):
        while not sleepers(seconds):
            await asyncio.sleep(0.05)


def unique() -> str:
    return str(100_000 + time.time_ns() % 1_000_000)


@pytest.mark.anyio
@pytest.mark.parametrize("isolation", RUNGS)
async def test_a_cancelled_run_leaves_nothing(bench: Bench, isolation: str) -> None:
    seconds = unique()
    task = asyncio.create_task(bench.run(bench.job(SLEEP, params={"seconds": seconds}, isolation=isolation)))
    await sleeping(seconds)
    bench.stop = True
    result = await task
    assert result.status == "cancelled"
    assert sleepers(seconds) == []


@pytest.mark.anyio
async def test_a_run_that_takes_too_long_leaves_nothing(bench: Bench) -> None:
    seconds = unique()
    result = await bench.run(bench.job(SLEEP, params={"seconds": seconds}, timeout_seconds=4))
    assert (result.status, sleepers(seconds)) == ("timeout", [])


@pytest.mark.anyio
async def test_a_cancelled_stage_leaves_nothing(bench: Bench) -> None:
    seconds = unique()
    task = asyncio.create_task(bench.run(bench.job(SLEEP, params={"seconds": seconds})))
    await sleeping(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleepers(seconds) == []


@pytest.mark.anyio
@pytest.mark.parametrize("isolation", RUNGS)
async def test_a_killed_executor_leaves_nothing(bench: Bench, isolation: str, tmp_path: Path) -> None:
    seconds = unique()
    job = tmp_path / "job.json"
    job.write_text(bench.job(SLEEP, params={"seconds": seconds}, isolation=isolation).model_dump_json())
    script = """
import asyncio, sys
from pathlib import Path
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job
async def nothing(events): pass
async def no(): return False
job = Job.model_validate_json(Path(sys.argv[1]).read_text())
asyncio.run(AnsibleRunner(RunnerSettings(), data_dir=Path(sys.argv[2])).run(job, nothing, no))
"""
    executor = subprocess.Popen([sys.executable, "-c", script, str(job), str(tmp_path / "data")])
    try:
        await sleeping(seconds)
    finally:
        executor.send_signal(signal.SIGKILL)
        executor.wait()
    async with asyncio.timeout(10):
        while sleepers(seconds):
            await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_too_much_output_ends_a_run(bench: Bench) -> None:
    tasks = """
    - name: Shout
      ansible.builtin.debug:
        msg: "{{ 'x' * 3000 }}"
      loop: "{{ range(2000) | list }}"
    """
    result = await bench.run(bench.job(tasks, output_mb=1))
    assert result.status == "failed" and "wrote more than 1 MB" in result.why


@pytest.mark.anyio
async def test_too_much_memory_ends_a_run(bench: Bench) -> None:
    tasks = """
    - name: Eat
      ansible.builtin.command:
        argv: ["{{ ansible_python_interpreter }}", "-c", "import time; x = b'x' * (600 << 20); time.sleep(60)"]
    """
    result = await bench.run(bench.job(tasks, memory_mb=400))
    assert result.status == "failed" and "MB of memory" in result.why


@pytest.mark.anyio
async def test_green_is_not_enough(bench: Bench) -> None:
    job = bench.job(COPY)
    nobody = job.model_copy(
        update={"files": {"playbook.yml": job.files["playbook.yml"].replace(b"hosts: targets", b"hosts: nobody")}}
    )
    result = await bench.run(nobody)
    assert result.status == "failed"
    broken = job.model_copy(update={"files": {"playbook.yml": b"- hosts: [}"}})
    assert (await bench.run(broken)).status == "failed"


@pytest.mark.anyio
async def test_a_failed_task_says_why(bench: Bench) -> None:
    tasks = """
    - name: Fail
      ansible.builtin.fail:
        msg: "the disk is gone"
    """
    result = await bench.run(bench.job(tasks))
    assert result.status == "failed" and "the disk is gone" in result.why


@pytest.mark.anyio
async def test_hostile_text_is_stored_clean(bench: Bench) -> None:
    text = "a\x1b]52;c;ZXZpbA==\x07b\x1b[31mc\u202ed\u200be\U000e0041f"
    tasks = """
    - name: Print
      ansible.builtin.command:
        argv: [printf, "%s", "{{ gm_text }}"]
    """
    result = await bench.run(bench.job(tasks, params={"text": text}))
    (line,) = [event for event in bench.events if event.kind == "changed"]
    assert line.text == "abcdef" and "\x1b" not in result.output


@pytest.mark.anyio
async def test_what_check_mode_cannot_show_is_said(bench: Bench) -> None:
    tasks = """
    - name: Command
      ansible.builtin.command:
        argv: ["true"]
    """
    result = await bench.run(bench.job(tasks, mode="check"))
    assert result.status == "successful" and result.not_previewable == ("here: Command",)


@pytest.mark.anyio
async def test_a_run_leaves_no_bytecode_in_the_checkout(bench: Bench) -> None:
    def compiled() -> set[Path]:
        return set((ROOT / "receiver").rglob("*.pyc"))

    before = compiled()
    await bench.run(bench.job(COPY, params={"path": str(bench.open / "f"), "text": "x"}, isolation="none"))
    assert compiled() == before


@pytest.mark.anyio
async def test_an_unknown_credential_is_refused(bench: Bench) -> None:
    result = await bench.run(bench.job(COPY, credentials=("ssh",)))
    assert result.status == "failed" and "credential 'ssh' is not configured" in result.why


@pytest.mark.anyio
async def test_the_probe_finds_what_works(bench: Bench, tmp_path: Path) -> None:
    assert await bench.runner.isolation() == "netns", await bench.runner.probed()
    settings = RunnerSettings(bwrap=str(tmp_path / "no-such-program"), rung="bwrap")
    without = AnsibleRunner(settings, data_dir=tmp_path / "d")
    assert await without.isolation() == "none"
    assert "not installed" in (await without.probed()).words
    assert shutil.which("bwrap") and ansible.MARK
