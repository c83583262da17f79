"""A clock that moves only when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """The Clock port, by hand."""

    def __init__(self, at: datetime = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)) -> None:
        self._now = at.astimezone(UTC)

    def now(self) -> datetime:
        """The moment that was set."""
        return self._now

    def pass_seconds(self, seconds: float) -> None:
        """Let time go by."""
        self._now += timedelta(seconds=seconds)
