"""What an alert is about. Always taken from the inventory by code, never from the payload's word alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from receiver.domain.matchers import Matchers
from receiver.domain.record import Record

if TYPE_CHECKING:
    from receiver.domain.inventory import Host, Inventory


class Entity(Record):
    """One thing of the inventory, and where it stands."""

    kind: str  #: host, guest, container or device, as the inventory says
    name: str  #: the inventory's name
    host: str  #: the managed host that a run for it would target
    site: str
    node: str | None = None  #: the machine a guest runs on
    depends_on: tuple[str, ...] = ()


class Unresolved(Record):
    """No host, or more than one, answers to these labels."""

    reason: str
    candidates: tuple[str, ...] = ()


def resolve(labels: Mapping[str, str], inventory: Inventory) -> Entity | Unresolved:
    """The one host of the inventory whose matchers hold for these labels."""
    found = [
        host for host in inventory.hosts.values() if any(Matchers.parse(text).matches(labels) for text in host.match)
    ]
    if len(found) != 1:
        names = tuple(host.name for host in found)
        reason = f"{len(names)} hosts match: {', '.join(names[:5])}" if names else "no host of the inventory matches"
        return Unresolved(reason=reason, candidates=names)
    return entity_of(found[0])


def entity_of(host: Host) -> Entity:
    """A host of the inventory as what a case is about."""
    return Entity(
        kind=host.kind,
        name=host.name,
        host=host.name,
        site=host.site,
        node=host.node,
        depends_on=host.depends_on,
    )
