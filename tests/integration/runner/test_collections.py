"""Collections reach a run only as the lock pins them: missing, altered or unpinned ones end it with words (rule S6)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.child import environment
from receiver.adapters.runner.collections import lock_of, provide
from receiver.adapters.runner.settings import RunnerSettings
from receiver.config import load
from receiver.doctor import _collections
from receiver.domain.collection import Collections, read_collections
from receiver.domain.run import Job, JobHost, RunEvent, RunResult
from receiver.errors import Refused
from receiver.identity import new_id
from tests.machine import required

MODULE = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={}, supports_check_mode=True)
module.exit_json(changed=False, msg="pinned bytes")
"""
PLAY = b"""
- hosts: targets
  gather_facts: false
  tasks:
    - own.tools.hello:
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/../../collections/ansible_collections/own/tools/plugins/modules/hello.py"
        content: altered
      register: wrote
      failed_when: false
    - ansible.builtin.assert:
        that: wrote.changed is not defined or not wrote.changed
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """One installed collection, with files that no run needs."""
    folder = tmp_path / "installed" / "ansible_collections" / "own" / "tools"
    for name, text in {
        "plugins/modules/hello.py": MODULE, "tests/x.py": "no", "README.md": "no",
        "plugins/modules/__pycache__/hello.pyc": "no",
        "MANIFEST.json": json.dumps({"collection_info": {"version": "1.0.0", "dependencies": {}}}),
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return tmp_path / "installed"


def module_of(place: Path) -> Path:
    return place / "ansible_collections/own/tools/plugins/modules/hello.py"


async def run(tmp_path: Path, place: Path, lock: Collections, names: Sequence[str] = ("own.tools",)) -> RunResult:
    required("bwrap")
    runner = AnsibleRunner(RunnerSettings(collections=place), data_dir=tmp_path / "data")
    job = Job(
        run_id=new_id(), mode="run", playbook_id="t", files={"playbook.yml": PLAY}, params={}, isolation="bwrap",
        hosts=(JobHost(name="here", connection="local"),), collections=lock.needed(names), timeout_seconds=60,
    )  # fmt: skip

    async def record(events: Sequence[RunEvent]) -> None:
        return

    async def never() -> bool:
        return False

    return await runner.run(job, record, never)


@pytest.mark.anyio
async def test_a_run_loads_the_pinned_bytes_and_cannot_change_them(tmp_path: Path, place: Path) -> None:
    result = await run(tmp_path, place, lock_of(place, ["own.tools"]))
    assert result.status == "successful" and "pinned bytes" in result.output, result.why
    assert module_of(place).read_text() == MODULE


@pytest.mark.anyio
async def test_an_altered_one_ends_the_run_before_it_begins(tmp_path: Path, place: Path) -> None:
    lock = lock_of(place, ["own.tools"])
    module_of(place).write_text(MODULE + "\n# altered\n")
    result = await run(tmp_path, place, lock)
    assert result.status == "failed" and result.output == "" and "altered files" in result.why
    module_of(place).unlink()
    assert "altered files" in (await run(tmp_path, place, lock)).why


@pytest.mark.anyio
async def test_a_missing_one_ends_the_run_before_it_begins(tmp_path: Path, place: Path) -> None:
    result = await run(tmp_path, tmp_path / "elsewhere", lock_of(place, ["own.tools"]))
    assert result.status == "failed" and "own.tools is not installed in" in result.why


@pytest.mark.parametrize("scans", [False, True], ids=["as a run", "if it were allowed"])
def test_what_lies_beside_the_program_is_not_loaded(tmp_path: Path, place: Path, scans: bool) -> None:
    """A collection on Python's own path, of which nobody merged a digest."""
    for folder in ("home", "tmp", "collections"):
        (tmp_path / folder).mkdir()
    (tmp_path / "safe.cfg").write_text("")
    (tmp_path / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks: [{own.tools.hello: }]\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {here: {ansible_connection: local}}}")
    seen = environment(tmp_path) | {"PYTHONPATH": str(place)}
    if scans:
        del seen["ANSIBLE_COLLECTIONS_SCAN_SYS_PATH"]
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=seen, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is scans, done.stdout + done.stderr
    assert scans or "own.tools.hello" in done.stdout + done.stderr


def test_another_version_is_named(tmp_path: Path, place: Path) -> None:
    lock = lock_of(place, ["own.tools"])
    manifest = place / "ansible_collections/own/tools/MANIFEST.json"
    manifest.write_text(json.dumps({"collection_info": {"version": "1.1.0"}}))
    with pytest.raises(Refused, match=r"it is version 1\.1\.0, pinned is 1\.0\.0"):
        provide(lock.needed(["own.tools"]), place, tmp_path / "target")


def test_only_what_ansible_loads_is_taken(tmp_path: Path, place: Path) -> None:
    provide(lock_of(place, ["own.tools"]).needed(["own.tools"]), place, tmp_path / "target")
    folder = tmp_path / "target/ansible_collections/own/tools"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"plugins/modules/hello.py", "MANIFEST.json"}


def test_a_link_that_leads_out_is_refused(tmp_path: Path, place: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    module_of(place).with_name("link.py").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="leads out of it"):
        lock_of(place, ["own.tools"])


def test_the_command_writes_what_a_work_tree_needs(tmp_path: Path, place: Path) -> None:
    tree = tmp_path / "tree" / "playbooks" / "a" / "b"
    tree.mkdir(parents=True)
    (tree / "playbook.yml").write_text("- hosts: targets\n  tasks: [{own.tools.hello: }]\n")
    (tree / "catalog.yml").write_text(
        "schema: 1\ntitle: T\neffect: change\nrisk: low\n"
        "params: {type: object, additionalProperties: false, properties: {host: {type: string, x-kind: host}}}\n"
    )
    command = [sys.executable, "-m", "receiver", "catalog", "lock", str(tmp_path / "tree"), "--from", str(place)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["changed"] is True and "takes effect when it is merged" in done.stderr
    assert read_collections((tmp_path / "tree/collections.lock").read_bytes()) == lock_of(place, ["own.tools"])
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["changed"] is False


def test_doctor_names_what_is_missing_or_altered(tmp_path: Path, place: Path) -> None:
    lock = lock_of(place, ["own.tools"])
    settings = load(tmp_path / "data", environment={"GITMEDIC_RUNNER__COLLECTIONS": str(place)})
    assert [row.status for row in _collections(settings, lock)] == ["ok"]
    module_of(place).write_text("altered")
    (row,) = _collections(settings, lock)
    assert row.status == "warn" and "altered files" in row.found and "catalog lock" in row.fix
