"""Facts about one alert: what it says of itself, what the inventory says, what its source knows around it.

Labels are facts that nobody may be bound to: they are untrusted. Host variables under `gitmedic_facts` are the
inventory's own word and trusted. A source that does not answer leaves one fact of kind `unread` with the reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import Inventory
from receiver.errors import Unavailable
from receiver.ports import Clock

MAX_TEXT = 256
Said = tuple[str, Any, str, bool]  #: kind, value, source, trusted


class Reader(Protocol):
    """What a source can be asked around an alert."""

    async def instant(self, source: str, promql: str) -> list[tuple[dict[str, str], float]]:
        """Rows of an instant query."""

    async def alerts(self, source: str) -> list[dict[str, str]] | None:
        """Labels of what fires; None when nobody can say."""

    async def silenced(self, source: str, labels: dict[str, str]) -> bool | None:
        """Whether it is suppressed."""


class GatherFacts:
    """The Facts port."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader, self._clock = reader, clock

    async def gather(self, alert: Alert, entity: Entity | None, inventory: Inventory) -> list[Fact]:
        """All facts, numbered in a stable order."""
        said: list[Said] = [("alert.severity", alert.severity, "alert", False)]
        said += [(f"alert.label.{name}", value, "alert", False) for name, value in sorted(alert.labels.items())]
        said += _of_inventory(entity, inventory)
        asked: list[Callable[[Alert], Awaitable[list[Said]]]] = [self._up, self._neighbours, self._silenced]
        for ask in asked:
            try:
                said += await ask(alert)
            except Unavailable as error:
                said.append(("unread", error.message, alert.source, True))
        now = self._clock.now()
        return [_fact(number, one, now) for number, one in enumerate(said, 1)]

    async def _up(self, alert: Alert) -> list[Said]:
        """`up` of the alert's own target; matched here, not in the query."""
        rows = await self._reader.instant(alert.source, "up")
        mine = [v for labels, v in rows if all(alert.labels.get(n) == labels.get(n) for n in ("instance", "job"))]
        return [("target.up", value, alert.source, True) for value in mine[:1]]

    async def _neighbours(self, alert: Alert) -> list[Said]:
        """How many other alerts fire for the same instance."""
        instance = alert.labels.get("instance")
        if not instance:
            return []
        listed = await self._reader.alerts(alert.source)
        if listed is None:
            return []  # not known is not none
        others = [one for one in listed if one.get("instance") == instance and one.get("alertname") != alert.name]
        return [("neighbours.firing", float(len(others)), alert.source, True)]

    async def _silenced(self, alert: Alert) -> list[Said]:
        found = await self._reader.silenced(alert.source, dict(alert.labels))
        return [] if found is None else [("alert.silenced", found, alert.source, True)]


def _of_inventory(entity: Entity | None, inventory: Inventory) -> list[Said]:
    if entity is None:
        return []
    host = inventory.hosts[entity.host]
    said: list[Said] = [("host", entity.host, "inventory", True), ("host.site", entity.site, "inventory", True)]
    if entity.node:
        said.append(("host.node", entity.node, "inventory", True))
    stated = host.variables.get("gitmedic_facts")
    for kind, value in sorted(stated.items()) if isinstance(stated, dict) else ():
        said += [(kind, one, "inventory", True) for one in (value if isinstance(value, list) else [value])]
    return said


def _fact(number: int, said: Said, now: datetime) -> Fact:
    kind, value, source, trusted = said
    if not isinstance(value, bool | float | int):
        value = "".join(c for c in str(value) if unicodedata.category(c)[0] != "C")[:MAX_TEXT]
    return Fact(id=f"f{number}", kind=kind, value=value, source=source, trusted=trusted, taken_at=now)
