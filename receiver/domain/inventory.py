"""The inventory of one revision, raw → valid: hosts with typed connection variables (rule S21) and topology.

Ordinary Ansible inventory in YAML; `gitmedic:` in a host's variables says where the host stands and which
labels mean it. Two hosts that match one alert leave it unresolved.
"""

from __future__ import annotations

from typing import Any, Literal

from receiver.domain.record import Record


class Local(Record):
    """What a host with a local connection lets a run touch."""

    writable: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()


class Host(Record):
    """One managed host."""

    name: str
    site: str = "home"
    kind: str = "host"
    connection: Literal["ssh", "local"] = "ssh"
    address: str = ""
    port: int = 22
    user: str = ""
    python: str = ""
    become: bool = False
    variables: dict[str, Any] = {}  #: the rest, plain data
    node: str | None = None
    depends_on: tuple[str, ...] = ()
    group: str | None = None
    min_healthy: int = 0
    match: tuple[str, ...] = ()  #: Alertmanager matcher lists; one that matches is enough
    managed_by: str | None = None
    reboot_allowed: bool = False
    local: Local = Local()


class Inventory(Record):
    """All hosts by name."""

    hosts: dict[str, Host]
