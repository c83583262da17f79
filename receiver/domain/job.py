"""From an approved run file to the job of one child process; nothing is looked up later."""

from __future__ import annotations

from typing import Literal

from receiver.domain.entity import Entity
from receiver.domain.inventory import Host, Inventory
from receiver.domain.playbook import Playbook
from receiver.domain.run import Job, JobHost, Rung
from receiver.domain.runfile import RunFile
from receiver.errors import Refused


def job_hosts(inventory: Inventory, names: tuple[str, ...]) -> tuple[JobHost, ...]:
    """The targets with their typed connection variables; an unknown name is refused."""
    missing = [name for name in names if name not in inventory.hosts]
    if missing:
        raise Refused(f"resolving targets: {missing[0]!r} is not in the inventory", reason="targets")
    return tuple(_job_host(inventory.hosts[name]) for name in names)


def job_of(
    runfile: RunFile,
    playbook: Playbook,
    inventory: Inventory,
    files: dict[str, bytes],
    *,
    mode: Literal["check", "run"],
    isolation: Rung,
) -> Job:
    """Exactly the run of the run file, as a dry run or for real."""
    return Job(
        run_id=runfile.run,
        mode=mode,
        playbook_id=playbook.id,
        files=files,
        hosts=job_hosts(inventory, runfile.targets),
        params=runfile.params,
        credentials=playbook.credentials,
        isolation=isolation,
        **playbook.limits.model_dump(),
    )


def lock_names(playbook: Playbook, runfile: RunFile, entity: Entity | None) -> tuple[str, ...]:
    """The named locks of a run: always its hosts, and what the playbook asks for besides."""
    names = {f"host:{target}" for target in runfile.targets}
    for lock in playbook.locks:
        if lock == "node" and entity and entity.node:
            names.add(f"node:{entity.node}")
        elif lock.startswith("group:"):
            names.add(lock)
    return tuple(sorted(names))


def _job_host(host: Host) -> JobHost:
    return JobHost(
        name=host.name,
        connection=host.connection,
        address=host.address,
        port=host.port,
        user=host.user,
        python=host.python,
        become=host.become,
        variables=host.variables,
        writable=host.local.writable,
        sockets=host.local.sockets,
    )
