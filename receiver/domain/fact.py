"""A fact: something read by code, with where it came from and whether that place may speak for it.

Parameters of a run are bound to facts by id; nobody, and no model, writes a value.
"""

from __future__ import annotations

from datetime import datetime

from receiver.domain.record import Record


class Fact(Record):
    """One typed observation."""

    id: str  #: unique within a case, for example `f3`
    kind: str  #: dotted noun such as `alert.severity`, `container.state`, `host`
    value: str | float | bool | None
    unit: str = ""
    source: str  #: who said so: `inventory`, `prometheus:home`, `alert`
    note: str = ""  #: more about it, from the same place and with the same standing
    trusted: bool  #: false for text that an outsider can set (labels, annotations, logs)
    taken_at: datetime
