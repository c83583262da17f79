"""Which locks a run takes: one for each thing, whoever asks for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.domain.inventory import read_inventory
from receiver.domain.job import lock_names
from receiver.domain.playbook import read_playbook
from receiver.domain.runfile import Pins, RunFile
from receiver.errors import Invalid
from tests.unit.test_pipeline import CATALOG, PLAYBOOK

INVENTORY = b"""
all:
  hosts:
    web1: {gitmedic: {node: pve1, group: {name: web, min_healthy: 1}}}
    web2: {gitmedic: {node: pve2, group: {name: web, min_healthy: 1}}}
    pve1: {gitmedic: {kind: node, depends_on: [sw1, nas1]}}
    pve2: {gitmedic: {kind: node, depends_on: [sw1]}}
    nas1: {gitmedic: {kind: storage, depends_on: [sw1]}}
    sw1: {gitmedic: {kind: switch, depends_on: [sw1]}}
"""


def names(locks: str, *targets: str) -> list[str]:
    files = {"catalog.yml": CATALOG.replace(b"locks: [host]", f"locks: {locks}".encode()), "playbook.yml": PLAYBOOK}
    playbook = read_playbook("playbooks/web/restart", files)
    runfile = RunFile(
        run="r", playbook=playbook.id, targets=targets, params={}, revision="c", case="c", reason="r",
        pins=Pins(playbook="p", roles="", collections="", targets="t"), requested_by="os:anna",
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return list(lock_names(playbook, runfile, read_inventory({"inventory/hosts.yml": INVENTORY})))


@pytest.mark.parametrize(
    ("locks", "targets", "expected"),
    [
        ("[host]", ("web1",), ["group:web", "host:web1"]),
        ("[node]", ("web1", "web2"), ["group:web", "host:pve1", "host:pve2", "host:web1", "host:web2"]),
        ("[storage]", ("web1",), ["group:web", "host:nas1", "host:web1"]),
        ("[storage, switch]", ("web2",), ["group:web", "host:sw1", "host:web2"]),
        ("[guests]", ("pve1",), ["host:pve1", "host:web1"]),
        ("['group:backup']", ("nas1",), ["group:backup", "host:nas1"]),
    ],
)
def test_locks_of_every_target(locks: str, targets: tuple[str, ...], expected: list[str]) -> None:
    assert names(locks, *targets) == expected


@pytest.mark.parametrize("locks", ["[nodes]", "['group:']", "['group:a b']", "['host:web1']"])
def test_an_unknown_lock_is_refused(locks: str) -> None:
    with pytest.raises(Invalid, match="locks: "):
        names(locks, "web1")
