"""Three hosts on which something is to be done one after the other, and gitmedic beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.repo.creation import create_ops_repository
from receiver.config import load
from receiver.domain.case import Closed, Proposed
from receiver.domain.outcome import Role
from receiver.office import Office, open_office
from receiver.starter import adopt, instance_id, os_user
from receiver.wiring import work
from tests.acceptance.test_two_sites import url_of
from tests.targets.network import Net
from tests.targets.ssh import GID, UID, Target, make_key

NAMES = ("h1", "h2", "h3")
CATALOG = """
schema: 1
title: Put the mark
use_when: it is missing
not_when: never
effect: change
risk: low
params:
  type: object
  additionalProperties: false
  required: [hosts]
  properties:
    hosts: {type: array, items: {type: string}, x-kind: host}
targets: {param: hosts, max_hosts: 3, serial: 1}
locks: [host]
credentials: [ssh]
limits: {timeout_seconds: 120, memory_mb: 512, output_mb: 20}
reversible: no
verify:
  - {id: marked, promql: 'host_marked', expect: '== 1'}
"""
PLAYBOOK = """
- name: Put the mark
  hosts: targets
  gather_facts: false
  tasks:
    - name: Say that it began
      ansible.builtin.file:
        path: "{{ place }}/began"
        state: touch
        mode: "0644"

    - name: Wait for the go
      ansible.builtin.wait_for:
        path: "{{ place }}/go"
        timeout: 60

    - name: Put the mark
      ansible.builtin.file:
        path: "{{ place }}/marked/file"
        state: touch
        mode: "0644"
"""


class Lab:
    """Three hosts and what Prometheus knows of them."""

    def __init__(self, net: Net, hosts: dict[str, Target]) -> None:
        self.net, self.hosts = net, hosts
        self.lies: dict[str, int] = {}  #: what the exporter says of a host, whatever is true

    def place(self, name: str) -> Path:
        return self.hosts[name].home / "place"

    def is_marked(self, name: str) -> bool:
        return (self.place(name) / "marked" / "file").exists()

    def began(self, name: str) -> bool:
        return (self.place(name) / "began").exists()

    def hold(self, name: str) -> None:
        """A run on this host stays in its middle until `let_go`."""
        (self.place(name) / "go").unlink()

    def let_go(self, name: str) -> None:
        (self.place(name) / "go").touch()

    def lock_out(self, name: str) -> None:
        """The mark cannot be put there any more."""
        os.chown(self.place(name) / "marked", 0, 0)

    def let_in(self, name: str) -> None:
        os.chown(self.place(name) / "marked", UID, GID)

    def afresh(self) -> None:
        """As it was before any run; every host may go on."""
        self.lies.clear()
        for name in NAMES:
            place = self.place(name)
            shutil.rmtree(place, ignore_errors=True)
            (place / "marked").mkdir(parents=True)
            (place / "go").touch()
            for made in (place, place / "marked"):
                os.chown(made, UID, GID)

    def page(self) -> str:
        """The metrics of this moment."""
        said = {name: self.lies.get(name, int(self.is_marked(name))) for name in NAMES}
        return "".join(f'host_marked{{host="{name}"}} {value}\n' for name, value in said.items())

    def files(self) -> dict[str, bytes]:
        person = os_user()
        hosts = {
            name: host.variables(place=str(self.place(name)), gitmedic={"site": "lab", "match": [f'host="{name}"']})
            for name, host in self.hosts.items()
        }
        one = {"name": person, "os": [person], "session": [person], "approves": "medium", "dispatches": True}
        policy = {
            "mode": "propose", "sources": {"lab": {"mode": "propose"}}, "approvals": {"solo": person}, "people": [one],
            "limits": {"open_proposals": 6, "proposals_per_hour": 100, "cooldown": "1s"},
        }  # fmt: skip
        return {
            "playbooks/lab/mark/catalog.yml": CATALOG.encode(), "playbooks/lab/mark/playbook.yml": PLAYBOOK.encode(),
            "inventory/hosts.yml": json.dumps({"all": {"hosts": hosts}}).encode(),
            "policy.yml": json.dumps(policy).encode(),
        }  # fmt: skip


SETTINGS = """
[worker]
poll_seconds = 0.2
[database]
url = {database!r}
[credentials.ssh]
kind = "ssh_key"
file = "{key}"
hosts = ["h1", "h2", "h3"]
[[sources]]
name = "lab"
url = "{prometheus}"
jobs = {{ lab = "any" }}
"""


@contextlib.asynccontextmanager
async def at_work(
    lab: Lab, data: Path, database: str, prometheus: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    """Its office, and beside it the worker of both roles."""
    data.mkdir(mode=0o700)
    key = make_key(lab.net.base)[0]
    text = SETTINGS.format(database=url_of(database), key=key, prometheus=prometheus)
    (data / "gitmedic.toml").write_text(text)
    (data / "gitmedic.toml").chmod(0o600)
    (data / "known_hosts").write_text("".join(f"{host.known_line}\n" for host in lab.hosts.values()))
    settings, person, stop = load(data, environment={}), os_user(), asyncio.Event()
    instance_id(data)
    create_ops_repository(settings.repo.path, lab.files(), f"{person} <{person}@localhost>")
    await adopt(settings, database)
    monkeypatch.setattr(work, "stop_on_signals", lambda: stop)
    worker = asyncio.create_task(work.work(settings, (Role.PLAN, Role.EXECUTE)))
    try:
        async with open_office(settings) as office:
            yield office
    finally:
        stop.set()
        await asyncio.wait_for(worker, 60)


async def until(done: Callable[[], Any], seconds: float = 180.0) -> Any:
    """The first true answer."""
    async with asyncio.timeout(seconds):
        while not (found := await done()):
            await asyncio.sleep(0.1)
        return found


async def asked(office: Office, hosts: Sequence[str]) -> Proposed:
    """A person asks for a run on these, and approves it once it is proposed."""
    actor = f"os:{os_user()}"
    case = await office.doors.dispatch("lab_mark", {"hosts": list(hosts)}, actor=actor, reason="marks")
    return await approved(office, case)


async def approved(office: Office, case: str) -> Proposed:
    """As soon as it is proposed."""
    found: Proposed = await until(lambda: _of_kind(office, case, Proposed))
    person = (await office.doors.policy()).people[0]
    await office.doors.approve(case, head_sha=found.proposal.head_sha, person=person, via="terminal")
    return found


async def ended(office: Office, case: str) -> Closed:
    """At its end."""
    found: Closed = await until(lambda: _of_kind(office, case, Closed))
    return found


async def _of_kind(office: Office, case: str, kind: type) -> Any:
    found = await office.store.archive.stored(case)
    assert isinstance(found, kind) or not isinstance(found, Closed), found
    return found if isinstance(found, kind) else None
