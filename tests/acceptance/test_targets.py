"""From an alert to a proved fix on each kind of target: systemd over SSH, Docker, FRR over SSH, and Proxmox's API.

Real Prometheus, Alertmanager, PostgreSQL, git, Ansible, systemd, dockerd and FRR; of Proxmox the double. Everything
stands in a network of the test's own, the executor too, and an exporter measures it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.adapters.repo.creation import create_ops_repository
from receiver.config import load
from receiver.domain.case import Case, Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.office import Office, open_office
from receiver.starter import content, os_user, prepare
from tests.fix_prometheus import Alertmanager, Prometheus
from tests.machine import collections, free_port, required
from tests.targets.docker import Docker, dockerd
from tests.targets.exporter import exporter
from tests.targets.frr import Routers
from tests.targets.network import Net, network
from tests.targets.proxmox import SECRET, TOKEN_ID, USER, Proxmox, proxmox
from tests.targets.ssh import Target, make_key

SECONDS = 300.0
RULES = {
    "SystemdUnitFailed": 'node_systemd_unit_state{state="active"} == 0',
    "ContainerDown": "docker_container_running == 0",
    "BgpPeerDown": "frr_bgp_peer_state == 0",
    "PVEGuestDown": "pve_up == 0",
}
SETTINGS = """
[web]
listen = "127.0.0.1:{port}"
[worker]
poll_seconds = 0.2
[runner]
collections = "{collections}"
ca_file = "{ca}"
[credentials.ssh]
kind = "ssh_key"
file = "{key}"
hosts = ["sd1", "r1"]
[credentials.proxmox]
kind = "token"
file = "{token}"
hosts = ["g101"]
[[sources]]
name = "lab"
url = "{prometheus}"
jobs = {{ lab = "any" }}
"""


@dataclass
class Lab:
    """The targets, and what the exporter says of them."""

    net: Net
    docker: Docker
    machine: Target
    routers: Routers
    pve: Proxmox

    def unit_runs(self) -> bool:
        done = self.docker.docker("exec", "sd1", "systemctl", "is-active", "web.service", check=False)
        return done.stdout == b"active\n"

    def page(self) -> str:
        """The metrics of this moment, named as the usual exporters name them."""
        container = self.docker.inspect("web")["State"]["Running"]
        established = int(self.routers.state() == "Established")
        up = int(self.pve.guests[101].status == "running")
        seen = f"{time.time():.3f}" if container else "1"
        return "\n".join(
            [
                f'node_systemd_unit_state{{host="sd1",name="web.service",state="active"}} {int(self.unit_runs())}',
                f'docker_container_running{{host="box",name="web"}} {int(container)}',
                f'container_last_seen{{host="box",name="web"}} {seen}',
                f'frr_bgp_peer_state{{host="r1",peer="{self.routers.peer}"}} {established}',
                f'pve_up{{host="g101",id="qemu/101"}} {up}',
                "",
            ]
        )

    def break_all(self) -> None:
        """Each target as it would break: a dead unit, a killed container, a session held down, a stopped guest."""
        self.docker.docker("exec", "sd1", "systemctl", "kill", "-s", "KILL", "web.service")
        self.docker.docker("kill", "web")
        self.routers.break_session()
        self.pve.guests[101].status = "stopped"

    def inventory(self) -> dict[str, Any]:
        socket = str(self.docker.socket)

        def own(name: str, **more: Any) -> dict[str, Any]:
            return {"gitmedic": {"site": "lab", "match": [f'host="{name}"'], **more}}

        hosts = {
            "sd1": self.machine.variables(gitmedic_facts={"service": ["web.service"]}, **own("sd1")),
            "r1": self.routers.target.variables(gitmedic_facts={"peer": [self.routers.peer]}, **own("r1")),
            "box": {
                "ansible_connection": "local", "gitmedic_facts": {"container": ["web"], "docker.socket": socket},
                **own("box", local={"sockets": [socket]}),
            },
            "g101": {
                "ansible_connection": "local", "proxmox_host": "127.0.0.1", "proxmox_port": self.pve.port,
                "proxmox_user": USER, "proxmox_token_id": TOKEN_ID, "gitmedic_facts": {"guest": ["qemu/101"]},
                **own("g101", kind="guest"),
            },
        }  # fmt: skip
        return {"all": {"hosts": hosts}}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    for program in ("bwrap", "prometheus", "alertmanager", "sshd", "zebra", "vtysh", "dockerd"):
        required(program)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(Path(tempfile.mkdtemp(prefix="gm-lab-", dir="/var/tmp"))))
        net.base.chmod(0o755)
        stack.enter_context(net.entered())  # the double's port, Prometheus, gitmedic: all are in there
        docker = stack.enter_context(dockerd())
        docker.add_container("web")
        public = make_key(net.base)[1]
        machine = docker.add_machine(net, "sd1", public, {"web.service": "/bin/sleep infinity"})
        pve = stack.enter_context(proxmox(tmp_path))
        pve.add(101, status="running")
        yield Lab(net, docker, machine, Routers(net, public), pve)


def policy(person: str) -> dict[str, Any]:
    return {
        "mode": "propose", "sources": {"lab": {"mode": "propose"}}, "approvals": {"solo": person},
        "people": [{"name": person, "os": [person], "session": [person], "approves": "medium", "dispatches": True}],
        "limits": {"open_proposals": 6, "proposals_per_hour": 100, "cooldown": "1s"},
    }  # fmt: skip


@contextlib.asynccontextmanager
async def installed(lab: Lab, place: Path, prometheus: str) -> AsyncIterator[tuple[Office, str]]:
    """`gitmedic up` in the lab, with the shipped playbooks; gives its office and its address."""
    data, token, port = place / "data", place / "token", free_port()
    data.mkdir(mode=0o700)
    token.write_text(SECRET)
    token.chmod(0o600)
    key = make_key(lab.net.base)[0]
    (data / "gitmedic.toml").write_text(
        SETTINGS.format(
            port=port, collections=collections(), ca=lab.pve.ca, key=key, token=token, prometheus=prometheus
        )
    )
    (data / "known_hosts").write_text(f"{lab.machine.known_line}\n{lab.routers.target.known_line}\n")
    settings, person = load(data, environment={}), os_user()
    prepare(data)
    files = content() | {
        "inventory/hosts.yml": json.dumps(lab.inventory()).encode(), "policy.yml": json.dumps(policy(person)).encode(),
    }  # fmt: skip
    create_ops_repository(settings.repo.path, files, f"{person} <{person}@localhost>")
    with (place / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "receiver", "up", "--data-dir", str(data)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        await until(lambda: answers(f"{settings.web.local_url}/readyz"), 90)
        async with open_office(settings) as office:
            yield office, settings.web.local_url
    finally:
        up.terminate()
        await asyncio.to_thread(up.wait, 30)


async def answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url, timeout=5)).status_code == 200
    return False


async def until(done: Callable[[], Any], seconds: float = SECONDS) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await done()):
            await asyncio.sleep(0.2)
        return found


async def mended(office: Office, alertname: str) -> Closed:
    """Its case, approved by the person as soon as it is proposed, once it is closed."""
    approved = False

    async def closed() -> Case | None:
        nonlocal approved
        page = await office.store.archive.cases(limit=1, cursor=None, filters={"alertname": alertname})
        found = await office.store.archive.stored(page.items[0]["id"]) if page.items else None
        if isinstance(found, Proposed) and not approved:
            people = (await office.repo.revision(found.revision)).policy.people
            await office.doors.approve(found.id, head_sha=found.proposal.head_sha, person=people[0], via="terminal")
            approved = True
        return found if isinstance(found, Closed) else None

    found = await until(closed)
    assert isinstance(found, Closed)
    return found


@contextlib.asynccontextmanager
async def watched(lab: Lab, folder: Path) -> AsyncIterator[Office]:
    """Prometheus looks at the lab, Alertmanager tells gitmedic, and gitmedic runs; all end with the test."""
    place = Path(tempfile.mkdtemp(prefix="gm-lab-", dir="/var/tmp"))
    place.chmod(0o711)
    prometheus = Prometheus(folder)
    prometheus.rules = [
        {"alert": name, "expr": text, "for": "1s", "labels": {"severity": "warning"}} for name, text in RULES.items()
    ]
    with exporter(lab.page) as port:
        prometheus.targets = [{"job_name": "lab", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
        try:
            async with installed(lab, place, prometheus.url) as (office, url):
                token = await office.store.access.create_token(
                    "lab", "alerts:write", source="lab", created_by="os:test"
                )
                sender = Alertmanager(folder, f"{url}/alertmanager/lab", token)
                try:
                    prometheus.alertmanager = sender.url
                    prometheus.start()
                    yield office
                finally:
                    sender.stop()
        finally:
            prometheus.stop()
    shutil.rmtree(place, ignore_errors=True)  # kept when the test fails: its logs say why


@pytest.mark.anyio
async def test_from_an_alert_to_a_proved_fix_on_every_kind_of_target(lab: Lab, tmp_path: Path) -> None:
    container = lab.docker.inspect("web")["Id"]
    async with watched(lab, tmp_path) as office:
        await asyncio.to_thread(lab.break_all)
        ends = await asyncio.gather(*(mended(office, name) for name in RULES))
        assert {name: (end.outcome, end.why) for name, end in zip(RULES, ends, strict=True)} == {
            name: (Outcome.FIXED, end.why) for name, end in zip(RULES, ends, strict=True)
        }
        assert await office.store.locks.all() == []
        said = "".join(end.model_dump_json() for end in ends)
    assert SECRET not in said
    assert lab.unit_runs() and lab.routers.state() == "Established" and lab.pve.guests[101].status == "running"
    assert lab.docker.inspect("web")["Id"] == container and lab.docker.inspect("web")["State"]["Running"]
    assert lab.pve.acts() == ["/api2/json/nodes/pve1/qemu/101/status/start"] and lab.pve.violations == []
