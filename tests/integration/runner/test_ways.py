"""Ways to a host: jump hosts, certificates, passphrases, and what is said when one does not lead there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.domain.run import Hop, Job, JobHost, RunEvent, RunResult
from receiver.identity import new_id
from tests.fix_sshd import SshHost
from tests.machine import landlock

pytestmark = pytest.mark.anyio
Start = Callable[[str, str], SshHost]
#: first the way that was approved, then straight to the jump host and past it to another one
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
        argv: "{{ ['ssh', '-F', playbook_dir ~ '/../../ssh_config', '-o', 'StrictHostKeyChecking=no',
                  '-o', 'UserKnownHostsFile=/dev/null'] + item.split(' ') }}"
      loop: "{{ tries }}"
      delegate_to: localhost
      vars:
        ansible_connection: local
      failed_when: false
      register: tried
    - name: Say
      ansible.builtin.debug:
        msg: "{{ tried.results | map(attribute='rc') | list }} {{ tried.results | map(attribute='stdout') | list }}"
"""
#: shown without no_log, which lint would refuse: what is known is taken out all the same
READ = b"""
    - name: Read
      ansible.builtin.debug:
        msg: "it is {{ lookup('file', gm_secret_dir ~ '/api') }}"
"""


def key_pair(file: Path, passphrase: str = "") -> str:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "t", "-f", str(file)]
    subprocess.run(argv, check=True)
    return file.with_suffix(".pub").read_text()


#: asks as sudo does: refuses with -n, else prompts and reads from standard input
SUDO = """#!/bin/sh
while :; do case "$1" in
    -p) prompt=$2; shift 2;; -u) shift 2;; -n) echo 'sudo: a password is required' >&2; exit 1;; -*) shift;; *) break;;
esac; done
printf %s "$prompt" >&2; read -r said
[ "$said" = canary-sudo-44aa ] || { echo 'Sorry, try again.' >&2; exit 1; }
exec "$@"
"""


class Ways:
    def __init__(self, base: Path) -> None:
        self.data = base / "data"
        self.data.mkdir()
        self.events: list[RunEvent] = []

    async def run(
        self,
        credential: dict[str, Any],
        host: JobHost,
        known: Sequence[SshHost],
        play: bytes,
        isolation: str = "bwrap",
        **others: dict[str, Any],
    ) -> RunResult:
        (self.data / "known_hosts").write_text("".join(one.known_line + "\n" for one in known))
        named = {"ssh": credential, **others}
        credentials = {name: CredentialSettings.model_validate({"hosts": ("*",), **one}) for name, one in named.items()}
        runner = AnsibleRunner(RunnerSettings(), data_dir=self.data, credentials=credentials)
        job = Job.model_validate(
            {
                "run_id": new_id(), "mode": "run", "playbook_id": "t", "files": {"playbook.yml": play},
                "hosts": [host], "params": {}, "credentials": tuple(named), "isolation": isolation,
                "timeout_seconds": 60,
            }
        )  # fmt: skip

        async def record(batch: Sequence[RunEvent]) -> None:
            self.events.extend(batch)

        async def never() -> bool:
            return False

        return await runner.run(job, record, never)

    def said(self) -> str:
        return " ".join(event.text for event in self.events if event.task == "Say")


def target(host: SshHost, *, by: SshHost | None = None, tries: Sequence[str] = (), **more: Any) -> JobHost:
    jump = (Hop(name=by.name, address="127.0.0.1", port=by.port, user=by.user),) if by else ()
    variables = {"tries": list(tries)}
    values = {"name": host.name, "address": "127.0.0.1", "port": host.port, "user": host.user, "jump": jump}
    return JobHost.model_validate({**values, "python": "/usr/bin/python3", "variables": variables, **more})


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    return Ways(tmp_path)


@pytest.mark.parametrize("isolation", ["netns", "bwrap", "landlock", "none"])
async def test_a_key_goes_by_the_jump_host_and_nowhere_else(
    ways: Ways, tmp_path: Path, ssh_hosts: Start, isolation: str
) -> None:
    if isolation == "landlock":
        landlock()
    public = key_pair(tmp_path / "id")
    bastion, inner, other = (ssh_hosts(name, public) for name in ("bastion", "inner", "other"))
    tries = [
        f"-p {other.port} {other.user}@127.0.0.1 echo came",
        f"-J {bastion.user}@127.0.0.1:{bastion.port} -p {other.port} {other.user}@127.0.0.1 echo came",
        f"-p {inner.port} {inner.user}@127.0.0.1 echo straight",
    ]
    host = target(inner, by=bastion, tries=tries)
    kind = {"kind": "ssh_key", "file": tmp_path / "id"}
    token = {"kind": "token", "command": ("echo", "canary-token-7c7c")}
    result = await ways.run(kind, host, [bastion, inner, other], PLAY + READ, isolation, api=token)
    assert result.status == "successful", result.why
    assert "[255, 255, " in ways.said() and "came" not in ways.said()
    # without a network of its own, or a gate, the approved host can also be reached straight
    assert ("straight" in ways.said()) == (isolation in ("bwrap", "none")), ways.said()
    assert "Accepted publickey" in (bastion.home / "log").read_text()
    assert "Accepted publickey" in (inner.home / "log").read_text()
    assert "Accepted publickey" not in (other.home / "log").read_text()
    assert [event.text for event in ways.events if event.task == "Read"] == ["", "it is (secret)"]


async def test_an_unknown_jump_host_is_refused_before_anything_starts(
    ways: Ways, tmp_path: Path, ssh_hosts: Start
) -> None:
    public = key_pair(tmp_path / "id")
    bastion, inner = ssh_hosts("bastion", public), ssh_hosts("inner", public)
    kind = {"kind": "ssh_key", "file": tmp_path / "id"}
    result = await ways.run(kind, target(inner, by=bastion), [inner], PLAY)
    assert "connecting to bastion: the host key of" in result.why and "gitmedic hosts trust bastion" in result.why
    only = {**kind, "hosts": ("inner",)}
    result = await ways.run(only, target(inner, by=bastion), [bastion, inner], PLAY)
    assert "it names no SSH credential for bastion" in result.why and ways.events == []


async def test_a_ca_signs_for_one_run(ways: Ways, tmp_path: Path, ssh_hosts: Start) -> None:
    ca = key_pair(tmp_path / "ca", "open sesame")
    (tmp_path / "pass").write_text("open sesame\n")
    (tmp_path / "pass").chmod(0o600)
    bastion, inner = ssh_hosts("bastion", f"cert-authority {ca}"), ssh_hosts("inner", f"cert-authority {ca}")
    # the certificate for the jump host passes on, and runs nothing there
    tries = [f"-p {bastion.port} {bastion.user}@127.0.0.1 echo came", "-G x"]
    host = target(inner, by=bastion, tries=tries)
    kind = {"kind": "ssh_ca", "file": tmp_path / "ca", "passphrase_file": tmp_path / "pass"}
    result = await ways.run(kind, host, [bastion, inner], PLAY)
    assert result.status == "successful", result.why
    assert "[1, 0]" in ways.said() and "came" not in ways.said()
    for one, id in ((bastion, "gitmedic jumps"), (inner, "gitmedic targets")):
        log = (one.home / "log").read_text()
        assert "ED25519-CERT" in log and f"ID {id}" in log
    elsewhere = await ways.run({**kind, "principals": ("nobody-here",)}, target(inner), [inner], PLAY)
    assert f"inner lets {inner.user} not in with the key of credential 'ssh'" in elsewhere.why


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "it has a passphrase, and none is configured"),
        ("wrong", "the configured passphrase does not open it"),
        ("open sesame", ""),
    ],
)
async def test_a_passphrase(ways: Ways, tmp_path: Path, ssh_hosts: Start, given: str | None, says: str) -> None:
    host = ssh_hosts("one", key_pair(tmp_path / "id", "open sesame"))
    more: dict[str, Any] = {}
    if given is not None:
        (tmp_path / "pass").write_text(given)
        (tmp_path / "pass").chmod(0o600)
        more = {"passphrase_file": tmp_path / "pass"}
    result = await ways.run({"kind": "ssh_key", "file": tmp_path / "id", **more}, target(host), [host], PLAY)
    assert (result.status == "successful") == (not says), result.why
    assert says in result.why and "sesame" not in result.why
    assert not says or str(tmp_path / "id") in result.why


async def test_a_key_that_a_command_prints_is_on_no_disk(ways: Ways, tmp_path: Path, ssh_hosts: Start) -> None:
    host = ssh_hosts("one", key_pair(tmp_path / "id"))
    result = await ways.run({"kind": "ssh_key", "command": ("cat", str(tmp_path / "id"))}, target(host), [host], PLAY)
    assert result.status == "successful", result.why
    result = await ways.run({"kind": "ssh_key", "command": ("echo", "no key")}, target(host), [host], PLAY)
    assert "it is no private key" in result.why and "no key\n" not in result.why


async def test_what_is_missing_on_the_host_is_said_in_words(ways: Ways, tmp_path: Path, ssh_hosts: Start) -> None:
    host, other = ssh_hosts("one", key_pair(tmp_path / "id")), ssh_hosts("two", "")
    kind = {"kind": "ssh_key", "file": tmp_path / "id"}
    result = await ways.run(kind, target(host, python="/no/such/python3"), [host], PLAY)
    assert result.why.startswith("no Python on one: install python3 there"), result.why
    result = await ways.run(kind, target(other), [other], PLAY)
    assert result.why.startswith(f"two lets {other.user} not in with the key of credential 'ssh'"), result.why
    changed = SshHost(name="one", port=host.port, user=host.user, home=host.home, host_key=other.host_key)
    result = await ways.run(kind, target(host), [changed], PLAY)
    assert "one or a jump host of it shows another host key" in result.why, result.why
    assert "gitmedic hosts trust one --replace" in result.why


async def test_sudo_gets_its_password_from_a_file(ways: Ways, tmp_path: Path, ssh_hosts: Start) -> None:
    host = ssh_hosts("one", key_pair(tmp_path / "id"))
    (host.home / "bin").mkdir()
    (host.home / "bin" / "sudo").write_text(SUDO)
    (host.home / "bin" / "sudo").chmod(0o755)
    kind = {"kind": "ssh_key", "file": tmp_path / "id"}
    result = await ways.run(kind, target(host, become=True), [host], PLAY)
    assert result.why.startswith("sudo on one asks for a password: name a credential of kind become"), result.why
    for password, says in (("canary-sudo-44aa", ""), ("canary-wrong-11bb", "does not take the password of")):
        become = {"kind": "become", "command": ("echo", password)}
        result = await ways.run(kind, target(host, become=True), [host], PLAY, root=become)
        assert (result.status == "successful") == (not says) and says in result.why, result.why
        assert "canary" not in result.model_dump_json() + "".join(one.model_dump_json() for one in ways.events)
