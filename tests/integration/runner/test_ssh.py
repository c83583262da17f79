"""SSH hosts: the run reaches what was approved, and its key opens nothing else (rule S7)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner import origins
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent, RunResult
from receiver.identity import new_id
from tests.fix_sshd import SshHost
from tests.machine import landlock

PLAY = b"""
- name: Reach
  hosts: targets
  gather_facts: false
  tasks:
    - name: Who
      ansible.builtin.command:
        argv: [id, -u]
      changed_when: false
    - name: Elsewhere
      ansible.builtin.command:
        # any host key will do: only the agent's own constraint may say no
        argv: [ssh, -F, "{{ config }}", -o, StrictHostKeyChecking=no, -o, UserKnownHostsFile=/dev/null,
               -p, "{{ gm_port }}", "{{ gm_user }}@127.0.0.1", "true"]
      delegate_to: localhost
      vars:
        ansible_connection: local
      changed_when: false
      failed_when: false
      register: elsewhere
      when: gm_port is defined
    - name: Say
      ansible.builtin.debug:
        msg: "elsewhere rc={{ elsewhere.rc | default('none') }} {{ elsewhere.stderr | default('') }}"
"""

Start = Callable[[str, str], SshHost]


class Key:
    def __init__(self, base: Path) -> None:
        self.file = base / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t", "-f", str(self.file)], check=True)
        self.credential = CredentialSettings(kind="ssh_key", file=self.file, hosts=("*",))
        self.public = self.file.with_suffix(".pub").read_text()


def job(hosts: Sequence[SshHost], params: dict[str, Any] | None = None, isolation: str = "bwrap") -> Job:
    if isolation == "landlock":
        landlock()
    targets = [
        JobHost(name=host.name, address="127.0.0.1", port=host.port, user=host.user, python="/usr/bin/python3",
                variables={"config": "/job/ssh_config"})
        for host in hosts
    ]  # fmt: skip
    return Job.model_validate(
        {
            "run_id": new_id(), "mode": "run", "playbook_id": "t", "files": {"playbook.yml": PLAY}, "hosts": targets,
            "params": params or {}, "credentials": ("ssh",), "isolation": isolation, "timeout_seconds": 60,
        }
    )  # fmt: skip


async def run(tmp_path: Path, key: Key, known: Sequence[str], given: Job) -> tuple[RunResult, list[RunEvent]]:
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    (data / "known_hosts").write_text("\n".join(known) + "\n")
    runner = AnsibleRunner(RunnerSettings(), data_dir=data, credentials={"ssh": key.credential})
    events: list[RunEvent] = []

    async def record(batch: Sequence[RunEvent]) -> None:
        events.extend(batch)

    async def never() -> bool:
        return False

    return await runner.run(given, record, never), events


@pytest.mark.anyio
@pytest.mark.parametrize("isolation", ["netns", "bwrap", "landlock", "none"])
async def test_a_run_reaches_the_approved_hosts(tmp_path: Path, ssh_hosts: Start, isolation: str) -> None:
    key = Key(tmp_path)
    hosts = [ssh_hosts("one", key.public), ssh_hosts("two", key.public)]
    result, _ = await run(tmp_path, key, [host.known_line for host in hosts], job(hosts, isolation=isolation))
    assert result.status == "successful", result.why
    assert set(result.stats) == {"one", "two"} and result.isolation == isolation


@pytest.mark.anyio
async def test_a_data_directory_far_down_is_no_hindrance(tmp_path: Path, ssh_hosts: Start) -> None:
    key, deep = Key(tmp_path), tmp_path / ("far" * 40)
    deep.mkdir()
    host = ssh_hosts("one", key.public)
    result, _ = await run(deep, key, [host.known_line], job([host], isolation="none"))
    assert result.status == "successful", result.why


@pytest.mark.anyio
async def test_the_key_opens_no_other_host(tmp_path: Path, ssh_hosts: Start) -> None:
    key = Key(tmp_path)
    approved, other = ssh_hosts("approved", key.public), ssh_hosts("other", key.public)
    params = {"port": str(other.port), "user": other.user}
    # the run may know the other host's key and name it; the agent still refuses to speak for it
    (tmp_path / "extra").write_text(other.known_line)
    result, events = await run(tmp_path, key, [approved.known_line, other.known_line], job([approved], params))
    assert result.status == "successful", result.why
    said = [event.text for event in events if event.task == "Say"]
    assert any("elsewhere rc=255" in text and "Permission denied" in text for text in said), said
    # the same key does open it without the agent's constraints
    direct = subprocess.run(
        ["ssh", "-F", "/dev/null", "-i", str(key.file), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-o",
         f"UserKnownHostsFile={tmp_path / 'extra'}", "-p", str(other.port), f"{other.user}@127.0.0.1", "true"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert direct.returncode == 0, direct.stderr


@pytest.mark.anyio
async def test_a_changed_host_key_is_not_believed(tmp_path: Path, ssh_hosts: Start) -> None:
    key = Key(tmp_path)
    host, other = ssh_hosts("one", key.public), ssh_hosts("two", key.public)
    result, _ = await run(tmp_path, key, [f"[127.0.0.1]:{host.port} {other.host_key}"], job([host]))
    assert result.status == "failed" and result.stats["one"].unreachable == 1


@pytest.mark.anyio
async def test_an_unknown_host_key_is_refused_before_anything_runs(tmp_path: Path, ssh_hosts: Start) -> None:
    key = Key(tmp_path)
    result, events = await run(tmp_path, key, [], job([ssh_hosts("one", key.public)]))
    assert result.status == "failed" and "is not known" in result.why and events == []


@pytest.mark.anyio
async def test_two_hosts_with_one_key_are_refused(tmp_path: Path, ssh_hosts: Start) -> None:
    key = Key(tmp_path)
    one, two = ssh_hosts("one", key.public), ssh_hosts("two", key.public)
    known = [one.known_line, f"[127.0.0.1]:{two.port} {one.host_key}"]
    result, events = await run(tmp_path, key, known, job([one, two]))
    assert result.status == "failed" and "has the host key of one" in result.why and events == []


@pytest.mark.anyio
@pytest.mark.parametrize("mode", [0o600, 0o444], ids=["private", "as Docker lays it"])
@pytest.mark.parametrize("certified", [False, True], ids=["key", "certificate"])
async def test_a_secret_of_docker_is_a_key_too(
    tmp_path: Path, ssh_hosts: Start, monkeypatch: pytest.MonkeyPatch, mode: int, certified: bool
) -> None:
    monkeypatch.setattr(origins, "_PLACED", (str(tmp_path),))
    key, ca = Key(tmp_path), Key(make(tmp_path / "ca"))
    host = ssh_hosts("one", f"cert-authority {ca.public}" if certified else key.public)
    if certified:
        argv = ["ssh-keygen", "-q", "-s", str(ca.file), "-I", "t", "-n", host.user, str(key.file.with_suffix(".pub"))]
        subprocess.run(argv, check=True)
    key.file.chmod(mode)
    result, _ = await run(tmp_path, key, [host.known_line], job([host]))
    assert result.status == "successful", result.why


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder
