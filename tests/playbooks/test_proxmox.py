"""A Proxmox guest is started by the real modules against a double of its API, and each refusal ends in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import required
from tests.playbooks.stage import Stage
from tests.targets.proxmox import SECRET, TOKEN_ID, USER, Proxmox, proxmox

ID = "proxmox_guest_start"


@pytest.fixture
def pve(tmp_path: Path) -> Iterator[Proxmox]:
    with proxmox(tmp_path) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, pve: Proxmox) -> Stage:
    required("bwrap")
    made = Stage(tmp_path, ca_file=pve.ca)
    secret = tmp_path / "token"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    made.keys = {"proxmox": secret}
    made.hosts["g"] = {
        "ansible_connection": "local", "proxmox_host": "127.0.0.1", "proxmox_port": pve.port, "proxmox_user": USER,
        "proxmox_token_id": TOKEN_ID, "gitmedic_facts": {"guest": ["qemu/101", "lxc/102", "qemu/999"]},
    }  # fmt: skip
    return made


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "vmid", "task"),
    [("qemu", 101, "g: Start the virtual machine"), ("lxc", 102, "g: Start the container")],
)
async def test_guest_start(stage: Stage, pve: Proxmox, kind: str, vmid: int, task: str) -> None:
    one, guest = pve.add(vmid, kind), f"{kind}/{vmid}"
    check = await stage.run(ID, "check", "g", guest=guest)
    assert check.status == "successful" and one.status == "stopped" and pve.acts() == [], check.why
    assert check.not_previewable == (task,)
    run = await stage.run(ID, "run", "g", guest=guest)
    assert (run.status, run.changes, one.status) == ("successful", (task,), "running"), run.why
    again = await stage.run(ID, "run", "g", guest=guest)
    assert (again.status, again.changes) == ("successful", ()), again.why
    assert pve.acts() == [f"/api2/json/nodes/pve1/{guest}/status/start"] and pve.violations == []
    said = "".join(f"{event.text}{event.data}" for event in stage.events) + again.output
    assert SECRET not in said


@pytest.mark.anyio
async def test_what_keeps_a_guest_from_starting_is_said(stage: Stage, pve: Proxmox) -> None:
    missing = await stage.run(ID, "run", "g", guest="qemu/999")
    assert missing.status == "failed" and "knows no such guest" in missing.why
    guest = pve.add(101, lock="backup")
    locked = await stage.run(ID, "run", "g", guest="qemu/101")
    assert locked.status == "failed" and "holds its lock" in locked.why and pve.acts() == []
    guest.lock, guest.starts = "", False
    broken = await stage.run(ID, "run", "g", guest="qemu/101")
    assert broken.status == "failed" and "it does not run" in broken.why, broken.why
    other = await stage.run(ID, "run", "g", guest="qemu/103")
    assert other.status == "failed" and "not among this host's guests" in other.why


@pytest.mark.anyio
async def test_an_api_that_refuses_is_quoted(stage: Stage, pve: Proxmox) -> None:
    pve.add(101)
    pve.refuse_all = (403, "Permission check failed (/vms/101, VM.Audit)")
    refused = await stage.run(ID, "check", "g", guest="qemu/101")
    assert refused.status == "failed" and "VM.Audit" in refused.why, refused.why
    pve.refuse_all = None
    stage.keys["proxmox"].write_text("another secret")
    token = await stage.run(ID, "run", "g", guest="qemu/101")
    assert token.status == "failed" and "401" in token.why and pve.acts() == [], token.why


@pytest.mark.anyio
async def test_a_certificate_of_nobody_known_is_not_believed(stage: Stage, pve: Proxmox) -> None:
    pve.add(101)
    del stage.settings["ca_file"]
    unknown = await stage.run(ID, "run", "g", guest="qemu/101")
    assert unknown.status == "failed" and "CERTIFICATE_VERIFY_FAILED" in unknown.why, unknown.why
    assert pve.requests == []
    stage.settings["ca_file"] = stage.place / "gone.pem"
    gone = await stage.run(ID, "run", "g", guest="qemu/101")
    assert gone.status == "failed" and "gone.pem" in gone.why and stage.events == []
