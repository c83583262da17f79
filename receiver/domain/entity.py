"""What an alert is about. Always taken from the inventory by code, never from the payload's word alone."""

from __future__ import annotations

from receiver.domain.record import Record


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
