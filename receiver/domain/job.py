"""From an approved run file to the job of one child process; nothing is looked up later."""

from __future__ import annotations

from typing import Literal

from receiver.domain.collection import Collections
from receiver.domain.inventory import Host, Inventory
from receiver.domain.playbook import Playbook
from receiver.domain.run import Hop, Job, JobHost, Rung
from receiver.domain.runfile import RunFile
from receiver.errors import Refused


def job_hosts(inventory: Inventory, names: tuple[str, ...]) -> tuple[JobHost, ...]:
    """The targets with their typed connection variables; an unknown name is refused."""
    missing = [name for name in names if name not in inventory.hosts]
    if missing:
        raise Refused(f"resolving targets: {missing[0]!r} is not in the inventory", reason="targets")
    return tuple(_job_host(inventory.hosts[name], inventory) for name in names)


def job_of(
    runfile: RunFile,
    playbook: Playbook,
    inventory: Inventory,
    files: dict[str, bytes],
    *,
    mode: Literal["check", "run"],
    isolation: Rung,
    collections: Collections = Collections(),
    hosts: tuple[str, ...] | None = None,
) -> Job:
    """Exactly the run of the run file, as a dry run or for real; one step of it sees only its own hosts."""
    return Job(
        run_id=runfile.run,
        mode=mode,
        playbook_id=playbook.id,
        files=files,
        hosts=job_hosts(inventory, runfile.targets if hosts is None else hosts),
        params=runfile.params,
        collections=collections.needed({*playbook.collections, *collections.named_in(files.values())}),
        credentials=playbook.credentials,
        isolation=isolation,
        **playbook.limits.model_dump(),
    )


def lock_names(playbook: Playbook, runfile: RunFile, inventory: Inventory) -> tuple[str, ...]:
    """The named locks of a run: its hosts, their redundancy groups, and what the playbook asks for besides.

    A thing has one lock, whoever asks for it: a change of a guest that locks its node keeps changes of the node away.
    """
    names = {f"host:{target}" for target in runfile.targets}
    names |= {lock for lock in playbook.locks if lock.startswith("group:")}
    for target in runfile.targets:
        host = inventory.hosts.get(target)
        if host is None:
            continue
        if host.group and playbook.effect == "change":
            names.add(f"group:{host.group}")
        for kind in playbook.locks:
            names |= {f"host:{name}" for name in _around(host, kind, inventory)}
    return tuple(sorted(names))


def _around(host: Host, kind: str, inventory: Inventory) -> set[str]:
    """The names of what stands around a host: its node, its guests, the storage and the switches it hangs on."""
    if kind == "node":
        return {host.node} if host.node else set()
    if kind == "guests":
        return {one.name for one in inventory.hosts.values() if one.node == host.name}
    if kind not in ("storage", "switch"):
        return set()
    found: set[str] = set()
    seen, left = set(), [host.name]
    while left:
        one = inventory.hosts.get(left.pop())
        if one is None or one.name in seen:
            continue
        seen.add(one.name)
        if one.kind == kind:
            found.add(one.name)
        left += [*one.depends_on, *([one.node] if one.node else [])]
    return found - {host.name}


def _job_host(host: Host, inventory: Inventory) -> JobHost:
    return JobHost(
        name=host.name,
        connection=host.connection,
        address=host.address,
        port=host.port,
        user=host.user,
        python=host.python,
        become=host.become,
        jump=tuple(hop_of(inventory.hosts[name]) for name in host.jump),
        variables=host.variables,
        writable=host.local.writable,
        sockets=host.local.sockets,
    )


def hop_of(host: Host | JobHost) -> Hop:
    """What a connection to it needs."""
    return Hop(name=host.name, address=host.address, port=host.port, user=host.user)
