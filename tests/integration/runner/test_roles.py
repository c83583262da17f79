"""A shared role, from the ops repository into a run: what git gives is what the runner takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.adapters.repo.git import OpsRepository
from tests.fix_repo import Person
from tests.integration.runner.test_runner import Bench

PLAYBOOK = "playbooks/web/restart"
PLAY = b"""
- name: Use a shared role
  hosts: targets
  gather_facts: false
  roles:
    - role: writes
      vars: {place: "{{ gm_path }}"}
"""
WRITES = b"""
- name: Write
  ansible.builtin.template: {dest: "{{ place }}", src: said.j2, mode: "0600"}
  notify: Tell
"""
TELL = b"""
- name: Tell
  ansible.builtin.debug: {msg: "{{ word }} was told"}
"""


@pytest.mark.anyio
@pytest.mark.parametrize("isolation", ["bwrap", "none"])
async def test_a_run_uses_a_shared_role(ops: OpsRepository, person: Person, tmp_path: Path, isolation: str) -> None:
    person.write(f"{PLAYBOOK}/playbook.yml", PLAY)
    person.write("roles/writes/tasks/main.yml", WRITES)
    person.write("roles/writes/handlers/main.yml", TELL)
    person.write("roles/writes/defaults/main.yml", b"word: hello\n")
    person.write("roles/writes/templates/said.j2", b"{{ word }}\n")
    person.commit("a shared role")
    files = await ops.files(person.push_main(), PLAYBOOK)
    bench = Bench(tmp_path)
    target = bench.open / "file"
    result = await bench.run(bench.job("", files=files, params={"path": str(target)}, isolation=isolation))
    assert result.status == "successful", result.why
    assert target.read_text() == "hello\n" and "hello was told" in result.output


@pytest.mark.anyio
async def test_a_role_of_the_machine_is_no_role_of_a_run(tmp_path: Path) -> None:
    """Nobody merged what lies in /etc/ansible/roles."""
    bench = Bench(tmp_path)
    task = "ansible.builtin.debug: {msg: \"{{ lookup('config', 'DEFAULT_ROLES_PATH') }}\"}"
    looks = f"- hosts: targets\n  tasks:\n    - {task}\n".encode()
    result = await bench.run(bench.job("", files={"playbook.yml": looks}))
    assert result.status == "successful", result.why
    assert "/pdd/project/roles" in result.output and "/etc/ansible" not in result.output
