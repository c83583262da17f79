"""What a run is given in secret: it can use it, and nothing that is kept or shown says it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.sandbox import APART_JOB
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.runs import PostgresRuns
from receiver.domain.case import Planned
from receiver.domain.outcome import Mode
from receiver.domain.plan import Plan
from receiver.domain.run import Job, JobHost, RunEvent, RunResult
from receiver.identity import new_id
from receiver.ports import Event
from tests.machine import landlock

pytestmark = pytest.mark.anyio
CANARIES = {"proxmox": "canary-token-9f3e", "gear": "canary-password-77aa", "sudo": "canary-become-51cc",
            "box": "canary-vault-08dd", "other": "canary-other-63bb"}  # fmt: skip
KINDS = {"proxmox": "token", "gear": "password", "sudo": "become", "box": "vault", "other": "token"}
#: uses each of them, once hidden as it should be, and once as a careless playbook would
PLAY = b"""
- name: Use
  hosts: targets
  gather_facts: false
  tasks:
    - name: Keep proof
      ansible.builtin.copy:
        dest: "{{ gm_place }}/{{ item }}"
        content: "{{ lookup('file', gm_secret_dir ~ '/' ~ item) }}"
        mode: "0600"
      loop: [proxmox, gear]
      no_log: true
    - name: Look around
      ansible.builtin.command:
        # braces of other processes on the machine are no templates of this play
        argv: [sh, -c, "cd {{ gm_secret_dir }}; {{ look }} | tr -d '{}'"]
      vars:
        look: (ls -lA; env; cat /proc/*/cmdline /proc/*/environ ../become)
      register: around
      failed_when: false
    - name: Show
      ansible.builtin.debug:
        msg: "{{ around.stdout }} {{ lookup('file', gm_secret_dir ~ '/proxmox') }}"
    - name: Encode
      ansible.builtin.debug:
        msg: "{{ ('u:' ~ lookup('file', gm_secret_dir ~ '/gear')) | b64encode }}"
    - name: Diff
      ansible.builtin.copy:
        dest: "{{ gm_place }}/shown"
        content: "x {{ lookup('file', gm_secret_dir ~ '/gear') }}"
        mode: "0600"
    - name: Foreign
      ansible.builtin.command:
        argv: [cat, "{{ gm_secret_dir }}/other"]
      failed_when: false
      register: foreign
    - name: Wait until it was looked at
      ansible.builtin.wait_for:
        path: "{{ gm_place }}/looked"
        timeout: 30
    - name: Fail with it
      ansible.builtin.fail:
        msg: "rc={{ foreign.rc }} it was {{ lookup('file', gm_secret_dir ~ '/proxmox') }}"
"""


class Bench:
    """A runner with a canary of each kind."""

    def __init__(self, base: Path) -> None:
        self.data, self.open = base / "data", base / "open"
        self.data.mkdir(mode=0o700)
        self.open.mkdir()
        (base / "keys").mkdir(mode=0o700)
        self.credentials = {}
        for name, value in CANARIES.items():
            file = base / "keys" / name
            file.write_text(f"{value}\n")
            file.chmod(0o600)
            hosts = ("elsewhere",) if name == "other" else ("here",)
            self.credentials[name] = CredentialSettings.model_validate(
                {"kind": KINDS[name], "file": file, "hosts": hosts}
            )
        self.runner = AnsibleRunner(RunnerSettings(), data_dir=self.data, credentials=self.credentials)
        self.events: list[RunEvent] = []

    def job(self, *credentials: str, play: bytes = PLAY, **more: Any) -> Job:
        host = JobHost(name="here", connection="local", writable=(str(self.open),))
        values: dict[str, Any] = {
            "run_id": new_id(), "mode": "run", "playbook_id": "t_t", "files": {"playbook.yml": play}, "hosts": (host,),
            "params": {"place": str(self.open)}, "credentials": credentials, "isolation": "bwrap",
            "timeout_seconds": 90,
        }  # fmt: skip
        return Job.model_validate(values | more)

    async def run(self, job: Job) -> RunResult:
        async def record(events: Sequence[RunEvent]) -> None:
            self.events.extend(events)

        async def never() -> bool:
            return False

        return await self.runner.run(job, record, never)


def processes() -> str:
    """What anybody can see of every process: its words and, of one's own, its environment."""
    found = b""
    for entry in Path("/proc").iterdir():
        for name in ("cmdline", "environ") if entry.name.isdigit() else ():
            try:
                found += (entry / name).read_bytes()
            except OSError:
                continue
    return found.decode("utf-8", "replace")


def everything_below(place: Path) -> str:
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("isolation", ["bwrap", "landlock", "none"])
async def test_a_canary_of_each_kind_is_found_nowhere(bench: Bench, isolation: str) -> None:
    if isolation == "landlock":
        landlock()
    await nothing_says_it(bench, bench.job("proxmox", "gear", "sudo", "box", isolation=isolation), bench.open)


async def test_a_run_of_another_uid_says_none_and_has_none_on_a_disk(bench: Bench) -> None:
    landlock()
    if os.geteuid():
        pytest.skip("only root gives a run a uid of its own")
    inside = APART_JOB / "home"  # nothing of the machine is declared, so it works in its own directory
    host = JobHost(name="here", connection="local")
    job = bench.job(
        "proxmox", "gear", "sudo", "box", isolation="landlock", hosts=(host,), params={"place": str(inside)}
    )
    await nothing_says_it(bench, job, None)


async def nothing_says_it(bench: Bench, job: Job, place: Path | None) -> None:
    """A whole run, looked at in the middle; `place` is where it works, None: in its own directory."""
    under_way = asyncio.create_task(bench.run(job))
    async with asyncio.timeout(80):
        while not under_way.done() and not any(event.task == "Wait until it was looked at" for event in bench.events):
            await asyncio.sleep(0.05)
    works_in = place or next((bench.data / "scratch").glob("run-*/home"))
    proofs = {name: (works_in / name).read_text() for name in ("proxmox", "gear")}
    for name in ("proxmox", "gear", "shown"):
        (works_in / name).unlink()
    seen_outside, scratch = processes(), everything_below(bench.data / "scratch")
    (works_in / "looked").touch(mode=0o644)
    result = await under_way
    assert proofs == {name: CANARIES[name] for name in proofs}, result
    kept = result.model_dump_json() + "".join(event.model_dump_json() for event in bench.events)
    assert "rc=1 it was (secret)" in result.why and "-r--------" in kept and "+x (secret)" in kept
    for name, canary in CANARIES.items():
        for where in (kept, seen_outside, everything_below(bench.data)):
            assert canary not in where, name
        assert canary not in scratch, name
    assert "canary-password" not in kept and "Y2FuYXJ5" not in kept
    assert list((bench.data / "scratch").iterdir()) == []


async def test_no_table_and_no_line_of_the_log_has_a_canary(
    bench: Bench, pool: AsyncConnectionPool[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    (bench.open / "looked").touch()
    case = Planned(
        id=new_id(), opened_at=datetime.now(UTC), revision="f" * 40, mode=Mode.PROPOSE, entity=None,
        plan=Plan(action="playbook", playbook="t_t", why="a test"), requested_by="system",
    )  # fmt: skip
    await PostgresDesk(pool).open(case, [Event(kind="case.planned", actor="system", text="a test")])
    runs, job = PostgresRuns(pool), bench.job("proxmox", "gear", "sudo", "box")
    attempt = await runs.begin(job.run_id, case.id, "run", "test")
    result = await bench.runner.run(job, lambda events: runs.record(attempt, events), lambda: runs.cancelled(attempt))
    await runs.finish(attempt, result)
    dump = ""
    async with pool.connection() as connection:
        tables = await (await connection.execute("SELECT schemaname, tablename FROM pg_tables")).fetchall()
        for schema, table in tables:
            if schema not in ("pg_catalog", "information_schema"):
                rows = await connection.execute(
                    SQL("SELECT t::text FROM {}.{} t").format(*map(Identifier, (schema, table)))
                )
                dump += "".join(row for (row,) in await rows.fetchall())
    said = capfd.readouterr()
    assert "(secret)" in dump and "Fail with it" in dump
    for name, canary in CANARIES.items():
        assert canary not in dump + said.out + said.err, name


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("other", "credential 'other' is not for here, but for elsewhere; next: in gitmedic.toml"),
        ("absent", "credential 'absent' is not configured; next: add [credentials.absent]"),
        ("empty", "credential 'empty' is not for here, but for no host: its `hosts` is empty"),
        ("gone", "reading credential 'gone': "),
    ],
)
async def test_what_is_not_for_it_is_refused_before_anything_starts(bench: Bench, asked: str, says: str) -> None:
    file = bench.credentials["other"].file
    assert file is not None
    more = {
        "empty": CredentialSettings(kind="token", file=file),
        "gone": CredentialSettings(kind="vault", file=file.with_name("absent"), hosts=("*",)),
    }
    bench.runner = AnsibleRunner(RunnerSettings(), data_dir=bench.data, credentials={**bench.credentials, **more})
    result = await bench.run(bench.job("proxmox", asked))
    assert result.status == "failed" and says in result.why, result.why
    assert bench.events == [] and list(bench.open.iterdir()) == []


VAULTED = b"""
- name: Open
  hosts: targets
  gather_facts: false
  tasks:
    - name: Copy
      ansible.builtin.copy: {src: sealed, dest: "{{ gm_place }}/opened", mode: "0600"}
      no_log: true
"""


def sealed(text: str, password: str, id: str) -> bytes:
    """As `ansible-vault encrypt --vault-id` writes it."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    library = VaultLib([(id, VaultSecret(password.encode()))])
    return bytes(library.encrypt(text, secret=VaultSecret(password.encode()), vault_id=id))


async def test_an_encrypted_file_is_opened_by_its_vault_id(bench: Bench) -> None:
    files = {"playbook.yml": VAULTED, "files/sealed": sealed("within", CANARIES["box"], "default")}
    opened = await bench.run(bench.job("box", files=files))
    assert opened.status == "successful" and (bench.open / "opened").read_text() == "within", opened.why
    (bench.open / "opened").unlink()
    shut = await bench.run(bench.job(files={**files, "playbook.yml": VAULTED.replace(b"      no_log: true\n", b"")}))
    assert shut.status == "failed" and "name one of kind vault in catalog.yml" in shut.why, shut.why
    assert not (bench.open / "opened").exists()


EXECUTOR = """
import asyncio
from pathlib import Path
from receiver.adapters.runner.credentials import Revealed
from receiver.adapters.runner.place import private_place

async def main():
    async with private_place(Revealed(secrets={"t": b"canary"}), Path("/nowhere/at/all"), with_agent=True) as place:
        while not (place / "sock").exists():
            await asyncio.sleep(0.02)
        print(place, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_place_goes_with_an_executor_that_is_killed() -> None:
    executor = await asyncio.create_subprocess_exec(sys.executable, "-c", EXECUTOR, stdout=asyncio.subprocess.PIPE)
    assert executor.stdout is not None
    place = Path((await executor.stdout.readline()).decode().strip())
    assert (place / "secrets" / "t").stat().st_mode & 0o777 == 0o400 and place.stat().st_mode & 0o777 == 0o700
    assert not os.access("/dev/shm", os.W_OK) or place.parent == Path("/dev/shm")
    assert str(place) in processes()
    executor.kill()
    await executor.wait()
    async with asyncio.timeout(30):
        while place.exists() or str(place) in processes():
            await asyncio.sleep(0.05)


async def test_a_reason_is_cut_without_its_secrets(tmp_path: Path) -> None:
    bench, secret = Bench(tmp_path), CANARIES["proxmox"]
    before = "x" * (400 - len("here: Fail: ") - len(secret) // 2)  # half of it would be left
    play = f"""
- name: Use
  hosts: targets
  gather_facts: false
  tasks:
    - name: Fail
      ansible.builtin.fail:
        msg: "{before}{{{{ lookup('file', gm_secret_dir ~ '/proxmox') }}}}{before}"
"""
    result = await bench.run(bench.job("proxmox", play=play.encode()))
    assert result.status == "failed" and result.why.startswith("here: Fail: xxx"), result
    assert "more characters]" in result.why and secret[:4] not in result.why and len(result.why) < 440


async def test_a_run_writes_nothing_into_its_private_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    play = b"""
- name: Use
  hosts: targets
  gather_facts: false
  tasks:
    - name: Write
      ansible.builtin.command:
        argv: [sh, -c, "cd {{ gm_secret_dir }}; touch new && echo wrote; touch ../new && echo wrote; rm -f proxmox"]
      changed_when: false
      failed_when: false
      register: wrote
    - name: Read
      ansible.builtin.assert:
        that: ["'wrote' not in wrote.stdout", "lookup('file', gm_secret_dir ~ '/proxmox') | length > 9"]
"""
    result = await bench.run(bench.job("proxmox", play=play))
    assert result.status == "successful", result.why
