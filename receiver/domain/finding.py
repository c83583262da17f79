"""What a check of this machine found, and how to mend it."""

from __future__ import annotations

from typing import Literal

from receiver.domain.record import Record


class Finding(Record):
    """One answer: it works; it works and will not for long; it does not."""

    status: Literal["ok", "warn", "bad"]
    what: str
    found: str
    fix: str = ""
