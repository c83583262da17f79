"""The inventory of one revision, raw → valid: hosts with typed connection variables (rule S21) and topology.

Ordinary Ansible inventory in YAML; `gitmedic:` in a host's variables says where the host stands and which
labels mean it. Two hosts that match one alert leave it unresolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import ValidationError

from receiver.domain.document import read_mapping
from receiver.domain.matchers import Matchers
from receiver.domain.record import Record
from receiver.errors import Invalid

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9._/+-]{1,4000}", re.ASCII)
_VARIABLE = re.compile(r"[a-z_][a-z0-9_]{0,60}", re.ASCII)
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
#: connection variables that may be said, and nothing else that begins with `ansible_`
_CONNECTION = {
    "ansible_host": "address",
    "ansible_port": "port",
    "ansible_user": "user",
    "ansible_connection": "connection",
    "ansible_python_interpreter": "python",
    "ansible_become": "become",
}
_OWN = {"site", "kind", "node", "depends_on", "group", "match", "managed_by", "reboot", "local", "jump"}


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
    jump: tuple[str, ...] = ()  #: hosts of the inventory by way of which it is reached, in order


class Inventory(Record):
    """All hosts by name."""

    hosts: dict[str, Host]


def read_inventory(files: Mapping[str, bytes]) -> Inventory:
    """All YAML files below `inventory/`: hosts, groups, `group_vars/` and `host_vars/`.

    Variables of a host win over its groups', an inner group over an outer one. Raises `Invalid` naming file
    and host. INI files are refused, since they hide types.
    """
    raw = _Raw()
    for path in sorted(files):
        parts = PurePosixPath(path).parts
        if not is_read(path):
            continue
        if PurePosixPath(path).suffix not in (".yml", ".yaml"):
            raise Invalid(
                "only YAML inventories are read", where=path,
                next_step="ansible-inventory -i FILE --list --yaml writes one",
            )  # fmt: skip
        plain = read_mapping(files[path], where=path) if files[path].strip() else {}
        if "group_vars" in parts or "host_vars" in parts:
            kind = raw.group_vars if "group_vars" in parts else raw.host_vars
            kind.setdefault(PurePosixPath(path).stem, {}).update(plain)
        else:
            raw.add_groups(plain, path, ())
    hosts = {}
    for name, places in sorted(raw.hosts.items()):
        hosts[name] = _read_host(name, raw.variables_of(name), places[0][1])
    for name, host in hosts.items():
        _check_jump(host, hosts, f"{raw.hosts[name][0][1]}: host {name!r}")
    return Inventory(hosts=hosts)


def is_read(path: str) -> bool:
    """Whether a file below `inventory/` says anything; what people write for each other does not."""
    name = PurePosixPath(path).name
    return not name.startswith(".") and not name.lower().startswith("readme")


def targets_digest(inventory: Inventory, names: Iterable[str]) -> str:
    """sha256 over the addresses, users and variables of these hosts and of the hosts on the way to them.

    Raises `Invalid` for an unknown one.
    """
    found = []
    for name in names:
        if name not in inventory.hosts:
            raise Invalid(f"host {name!r} is not in the inventory")
        host = inventory.hosts[name]
        # a host without jump hosts has the digest that it had before there were any
        found.append(host.model_dump(mode="json", exclude={"jump"}))
        found += [inventory.hosts[hop].model_dump(mode="json", exclude={"jump"}) for hop in host.jump]
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


class _Raw:
    """What the files say, before it is believed."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[tuple[tuple[str, ...], str, dict[str, Any]]]] = {}
        self.group_vars: dict[str, dict[str, Any]] = {}
        self.host_vars: dict[str, dict[str, Any]] = {}

    def add_groups(self, groups: dict[str, Any], where: str, above: tuple[str, ...]) -> None:
        """One level of groups, and their children."""
        for group, body in groups.items():
            body = body or {}
            if not isinstance(body, dict) or set(body) - {"hosts", "vars", "children"}:
                raise Invalid(f"group {group!r}: expected hosts, vars and children", where=where)
            way = (*above, group)
            self.group_vars.setdefault(group, {}).update(body.get("vars") or {})
            for host, variables in (body.get("hosts") or {}).items():
                self.hosts.setdefault(host, []).append((way, where, variables or {}))
            self.add_groups(body.get("children") or {}, where, way)

    def variables_of(self, host: str) -> dict[str, Any]:
        """Groups from the outside in, then host_vars, then what stands at the host."""
        found: dict[str, Any] = dict(self.group_vars.get("all", {}))
        for way, _, _ in self.hosts[host]:
            for group in way:
                found |= self.group_vars.get(group, {})
        found |= self.host_vars.get(host, {})
        for _, _, own in self.hosts[host]:
            found |= own
        return found


def _read_host(name: str, variables: dict[str, Any], where: str) -> Host:
    place = f"{where}: host {name!r:.80}"
    if not _HOST.fullmatch(name):
        raise Invalid("a host's name has letters, digits, dots, dashes and underscores", where=place)
    own = variables.pop("gitmedic", None) or {}
    if not isinstance(own, dict) or set(own) - _OWN:
        unknown = sorted(set(own) - _OWN) if isinstance(own, dict) else [own]
        raise Invalid(f"gitmedic: unknown key {unknown[0]!r}", where=place)
    for key in variables:
        if not _VARIABLE.fullmatch(key) or key.startswith("gm_"):
            raise Invalid(f"{key!r} is no name for a variable", where=place)
        if key.startswith("ansible_") and key not in _CONNECTION:
            raise Invalid(
                f"{key!r} is not a connection variable that is read here", where=place,
                next_step=f"use {', '.join(_CONNECTION)}",
            )  # fmt: skip
    typed = {field: variables.pop(key) for key, field in _CONNECTION.items() if key in variables}
    group = own.get("group") or {}
    host: dict[str, Any] = {
        **typed,
        "name": name,
        "variables": variables,
        "site": own.get("site", "home"),
        "kind": own.get("kind", "host"),
        "node": own.get("node"),
        "depends_on": own.get("depends_on") or (),
        "group": group.get("name"),
        "min_healthy": group.get("min_healthy", 0),
        "match": own.get("match") or (),
        "managed_by": own.get("managed_by"),
        "reboot_allowed": own.get("reboot") == "allowed",
        "local": own.get("local") or {},
        "jump": own.get("jump") or (),
    }
    host.setdefault("address", name if typed.get("connection", "ssh") == "ssh" else "")
    try:
        read = Host.model_validate(host, strict=None)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=place) from error
    _check_host(read, place)
    return read


def _check_host(host: Host, place: str) -> None:
    """Typed and untemplated (rule S21): these reach the transport as they are."""
    patterns = [("ansible_host", host.address, _ADDRESS), ("ansible_user", host.user, _USER)]
    patterns += [("ansible_python_interpreter", host.python, _PATH)]
    patterns += [("local", path, _PATH) for path in (*host.local.writable, *host.local.sockets)]
    for key, value, pattern in patterns:
        if value and (_TEMPLATE.search(value) or not pattern.fullmatch(value)):
            raise Invalid(f"{key} is {value!r:.80}, which is not plain", where=place)
    if not 0 < host.port < 65536:
        raise Invalid(f"ansible_port is {host.port}", where=place)
    for path in (*host.local.writable, *host.local.sockets):
        if ".." in PurePosixPath(path).parts:
            raise Invalid(f"local: {path!r} goes up", where=place)
    for text in host.match:
        Matchers.parse(text)


def _check_jump(host: Host, hosts: Mapping[str, Host], place: str) -> None:
    """The whole way is written at its end: hosts of the inventory, reached by SSH without a way of their own."""
    for name in host.jump:
        hop = hosts.get(name)
        if hop is None:
            raise Invalid(f"jump: {name!r} is not in the inventory", where=place)
        if host.connection != "ssh" or hop.connection != "ssh":
            raise Invalid(f"jump: from {name!r} to {host.name!r} only SSH goes", where=place)
        if hop.jump or name == host.name or host.jump.count(name) > 1:
            raise Invalid(f"jump: write the whole way, each host once; {name!r} has a way of its own", where=place)
