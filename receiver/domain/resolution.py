"""What a person said about an interrupted run, whose outcome nobody knows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from receiver.domain.outcome import Verdict
from receiver.domain.record import Record

Act = Literal["verify", "propose", "close"]
ACTS: tuple[Act, ...] = ("verify", "propose", "close")


class Resolution(Record):
    """One word. The case needs a person until one of them settles it."""

    act: Act
    actor: str
    reason: str = ""
    at: datetime | None = None
    verdict: Verdict | None = None  #: of `verify`, once the plan role has looked
    why: str = ""
    opened: str | None = None  #: of `propose`: the case that goes the way again
    settles: bool = False
