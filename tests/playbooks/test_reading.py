"""The playbooks that only read, on a real host over SSH: what they find, and when they ask for a person."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_sshd import SshHost
from tests.playbooks.test_playbooks import CATALOG, Stage, stage

__all__ = ["stage"]


@pytest.fixture
def there(stage: Stage, ssh_hosts: Callable[[str, str], SshHost]) -> SshHost:
    key = stage.place / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t", "-f", str(key)], check=True)
    host = ssh_hosts("remote", key.with_suffix(".pub").read_text())
    stage.keys = {"ssh": key}
    (stage.place / "data" / "known_hosts").write_text(host.known_line + "\n")
    stage.hosts["remote"] = {
        "ansible_host": "127.0.0.1", "ansible_port": host.port, "ansible_user": host.user,
        "ansible_python_interpreter": "/usr/bin/python3",
    }  # fmt: skip
    return host


def test_they_only_read() -> None:
    names = ("host_resource_review", "host_backup_verify", "host_security_audit")
    assert {CATALOG[name].effect for name in names} == {"read"}


@pytest.mark.anyio
async def test_backup_verify(stage: Stage, there: SshHost) -> None:
    folder: Path = there.home / "backups"
    folder.mkdir()
    params = {"path": str(folder), "max_age_hours": 30, "min_size_kb": 2}
    empty = await stage.run("host_backup_verify", "run", "remote", **params)  # type: ignore[arg-type]
    assert empty.status == "failed" and "no file below" in empty.why
    for name, hours, size in (("old", 100, 9000), ("new", 1, 4096)):
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (time.time() - hours * 3600,) * 2)
    good = await stage.run("host_backup_verify", "run", "remote", **params)  # type: ignore[arg-type]
    assert (good.status, good.changes) == ("successful", ()), good.why
    small = await stage.run("host_backup_verify", "run", "remote", **params | {"min_size_kb": 5})  # type: ignore[arg-type]
    assert small.status == "failed" and f"{folder}/new is 1.0 hours old" in small.why
    (folder / "new").unlink()
    stale = await stage.run("host_backup_verify", "run", "remote", **params)  # type: ignore[arg-type]
    assert stale.status == "failed" and "wanted less than 30 hours" in stale.why


@pytest.mark.anyio
async def test_resource_review(stage: Stage, there: SshHost) -> None:
    found = await stage.run("host_resource_review", "run", "remote", disk_percent=100, memory_percent=100)  # type: ignore[arg-type]
    assert found.changes == () and found.status in ("successful", "failed")
    if found.status == "failed":  # of this machine, a service or a disk that is really full
        assert "failed services: none" not in found.why or "full disks: none" not in found.why, found.why
    tight = await stage.run("host_resource_review", "run", "remote", disk_percent=100, memory_percent=1)  # type: ignore[arg-type]
    assert tight.status == "failed" and "memory: " in tight.why and "Nothing needs a person" in tight.why
    dry = await stage.run("host_resource_review", "check", "remote", disk_percent=100, memory_percent=1)  # type: ignore[arg-type]
    assert dry.not_previewable == ()


@pytest.mark.anyio
async def test_security_audit(stage: Stage, there: SshHost) -> None:
    found = await stage.run("host_security_audit", "run", "remote", max_updates=10_000)  # type: ignore[arg-type]
    assert found.changes == ()
    assert found.status == "successful" or "root may log in with a password" in found.why, found.why
    assert f"listens: tcp 127.0.0.1:{there.port}" in found.output or "ss: command not found" in found.output
