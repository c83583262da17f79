"""Which credentials a run sees: those that its playbook names, where they are configured, for these very hosts.

Decides before anything starts. Refuses a name that is not configured, a credential that is not for every target, a
host on the way that no SSH credential of the run is for, and two sudo passwords at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from receiver.adapters.runner import origins
from receiver.adapters.runner.settings import CredentialSettings
from receiver.domain.job import hop_of
from receiver.domain.run import Hop, Job
from receiver.errors import Refused


@dataclass(frozen=True)
class SshKey:
    """A key, or the CA that signs one, and the hosts of this run that it is for."""

    name: str
    content: bytes
    hosts: tuple[Hop, ...]
    file: Path | None = None  #: where it lies, when it does: a certificate may lie beside it
    passphrase: bytes | None = None
    is_ca: bool = False
    principals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revealed:
    """All that one run is given."""

    keys: tuple[SshKey, ...] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict)  #: tokens and passwords by name
    become: bytes | None = None
    vaults: Mapping[str, bytes] = field(default_factory=dict)  #: by vault id
    kinds: Mapping[str, str] = field(default_factory=dict)  #: by name, for words

    def values(self) -> Iterator[bytes]:
        """Every secret value, for what is taken out of events."""
        for key in self.keys:
            yield key.content
            if key.passphrase is not None:
                yield key.passphrase
        yield from self.secrets.values()
        yield from self.vaults.values()
        if self.become is not None:
            yield self.become

    @property
    def for_the_play(self) -> bool:
        """Whether there is anything to lay into the run's own directory."""
        return bool(self.secrets or self.vaults or self.become is not None)


def way(job: Job) -> tuple[Hop, ...]:
    """Every host that the run connects to by SSH, each once: jump hosts, then targets."""
    targets = [host for host in job.hosts if host.connection == "ssh"]
    jumps = {hop.name: hop for host in targets for hop in host.jump}
    return tuple((jumps | {host.name: hop_of(host) for host in targets}).values())


def chosen(job: Job, configured: Mapping[str, CredentialSettings]) -> dict[str, CredentialSettings]:
    """The credentials of this run by name; raises `Refused` before any of them is read."""
    doing = f"running {job.playbook_id}"
    found: dict[str, CredentialSettings] = {}
    for name in job.credentials:
        if name not in configured:
            raise Refused(
                f"{doing}: credential {name!r} is not configured",
                next_step=f"add [credentials.{name}] to gitmedic.toml",
                reason="credential",
            )
        _check_hosts(name, configured[name], job, doing)
        found[name] = configured[name]
    ssh = [one for one in found.values() if one.is_ssh]
    for hop in way(job):
        if not any(one.allows(hop.name) for one in ssh):
            raise Refused(
                f"{doing}: it names no SSH credential for {hop.name}",
                next_step=f"name one in its catalog.yml, whose `hosts` in gitmedic.toml has {hop.name!r}",
                reason="credential",
            )
    sudo = [name for name, one in found.items() if one.kind == "become"]
    if len(sudo) > 1:
        raise Refused(
            f"{doing}: it names two sudo passwords, {sudo[0]!r} and {sudo[1]!r}", next_step="name one in catalog.yml",
            reason="credential",
        )  # fmt: skip
    return found


async def revealed(job: Job, configured: Mapping[str, CredentialSettings]) -> Revealed:
    """Read what the run may see, and nothing else."""
    keys: list[SshKey] = []
    secrets: dict[str, bytes] = {}
    vaults: dict[str, bytes] = {}
    become: bytes | None = None
    kinds: dict[str, str] = {}
    for name, one in chosen(job, configured).items():
        kinds[name] = one.kind
        content = await origins.read(name, one)
        if one.is_ssh:
            keys.append(
                SshKey(
                    name=name, content=content, file=one.file, is_ca=one.kind == "ssh_ca", principals=one.principals,
                    hosts=tuple(hop for hop in way(job) if one.allows(hop.name)),
                    passphrase=await origins.passphrase(name, one),
                )
            )  # fmt: skip
            continue
        value = origins.one_line(content, f"reading credential {name!r}")
        if one.kind == "become":
            become = value
        elif one.kind == "vault":
            vaults[one.vault_id] = value
        else:
            secrets[name] = value
    return Revealed(keys=tuple(keys), secrets=secrets, become=become, vaults=vaults, kinds=kinds)


def _check_hosts(name: str, credential: CredentialSettings, job: Job, doing: str) -> None:
    """Every target is among its hosts; a key that is for jump hosts alone is for no target."""
    foreign = [host.name for host in job.hosts if not credential.allows(host.name)]
    if not foreign:
        return
    jumps = {hop.name for host in job.hosts for hop in host.jump}
    if credential.is_ssh and len(foreign) == len(job.hosts) and any(credential.allows(jump) for jump in jumps):
        return
    whose = f"for {', '.join(credential.hosts)}" if credential.hosts else "for no host: its `hosts` is empty"
    raise Refused(
        f"{doing}: credential {name!r} is not for {foreign[0]}, but {whose}",
        next_step=f'in gitmedic.toml: [credentials.{name}] hosts = ["{foreign[0]}"], or ["*"] for every host',
        reason="credential",
    )
