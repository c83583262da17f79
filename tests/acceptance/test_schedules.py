"""What policy.yml schedules, on real components: `up`, its planner, its executor, Ansible in its sandbox, git."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.repo.creation import create_ops_repository
from receiver.config import Settings, load
from receiver.office import open_store
from receiver.starter import content, os_user
from tests.integration.cli.processes import Up, gitmedic
from tests.machine import required

pytestmark = pytest.mark.anyio


@pytest.fixture
def place() -> Iterator[Path]:
    """Where also root's PostgreSQL user may go."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def installation(place: Path) -> Settings:
    """An ops repository with one host, this machine, whose backups are verified and whose cache is cleaned."""
    data, backups = place / "d", place / "backups"
    data.mkdir()
    backups.mkdir()
    (backups / "monday.tar").write_bytes(b"x" * 4096)
    key = place / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (data / "gitmedic.toml").write_text(
        "[[sources]]\nname = 'home'\nkind = 'webhook'\n"
        f"[credentials.ssh]\nkind = 'ssh_key'\nfile = '{key}'\nhosts = ['here']\n"
    )
    settings = load(data, environment={})
    host = {"ansible_connection": "local", "gitmedic_facts": {"cleanup.path": str(backups)},
            "gitmedic": {"site": "home", "local": {"writable": [str(backups)]}}}  # fmt: skip
    person = {"name": "ann", "os": [os_user()], "approves": "medium", "dispatches": True}
    reads = {"playbook": "host_backup_verify", "hosts": ["here"], "params": {"path": str(backups)}}
    policy = {
        "mode": "propose", "people": [person], "approvals": {"solo": "ann"},
        "read_without_proposal": ["host_backup_verify"],
        "schedules": {
            "often": {"cron": "*/5 * * * *", "zone": "Europe/Berlin", **reads},
            "clean": {"cron": "0 3 * * 0", "playbook": "host_path_cleanup", "hosts": ["here"],
                      "params": {"path": str(backups)}},
        },
    }  # fmt: skip
    own = {"inventory/hosts.yml": {"all": {"hosts": {"here": host}}}, "policy.yml": policy}
    files = content() | {name: json.dumps(plain).encode() for name, plain in own.items()}
    create_ops_repository(settings.repo.path, files, "ann <ann@localhost>")
    return settings


def asked(data: Path, *arguments: str) -> dict[str, Any]:
    done = gitmedic(*arguments, "--json", "--data-dir", str(data))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def at(data: Path, case: str, state: str) -> dict[str, Any]:
    """The case, once it is there."""
    end = time.monotonic() + 150
    while time.monotonic() < end:
        found = asked(data, "case", "show", case)
        if found["state"] in (state, "closed"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"case {case} is {found['state']}: {found['waiting']}")


def moments(data: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(data, "schedule", "show", name)["moments"]["items"]
    return found


async def test_a_moment_comes_and_what_only_reads_is_read(place: Path) -> None:
    required("bwrap")
    settings = installation(place)
    data = settings.data_dir
    with Up(data) as up:
        up.ready(120)
        end = time.monotonic() + 150
        while not asked(data, "schedule", "list")["items"][0]["next_at"] and time.monotonic() < end:
            time.sleep(0.5)
        async with open_store(settings) as store, store.pool.connection() as connection:
            # as if its planner had looked last just before the moment
            await connection.execute("UPDATE schedules SET since = now() - interval '6 minutes' WHERE name = 'often'")
        while not (filed := [one for one in moments(data, "often") if one["fate"] == "ran"]):
            assert time.monotonic() < end, up.words
            time.sleep(0.5)
        read = at(data, filed[-1]["cases"][0]["id"], "closed")
        assert (read["outcome"], read["proposal"], read["rehearsals"]) == ("diagnosed", None, []), read["why"]
        assert read["requested_by"] == read["standing"]["by"] == f"policy:often@{read['revision']}"
        assert read["run"]["status"] == "successful" and {one["passed"] for one in read["standing"]["checks"]} == {True}
        log = gitmedic("run", "logs", read["run"]["id"], "--data-dir", str(data))
        assert f"newest of 1: {place}/backups/monday.tar" in log.stdout
        refs = subprocess.run(
            ["git", "-C", settings.repo.path, "for-each-ref", "--format=%(refname)", "refs/gitmedic/claims"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert f"refs/gitmedic/claims/{read['run']['id']}" in refs
        # a change, asked for now by a person who may, waits for an approval and has run nothing
        (case,) = asked(data, "schedule", "run", "clean")["cases"]
        change = at(data, case, "proposed")
        assert change["state"] == "proposed" and change["run"] is None and change["standing"] is None, change["why"]
        assert (place / "backups" / "monday.tar").exists()
