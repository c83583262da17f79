"""The purse in memory."""

from __future__ import annotations

from datetime import datetime

from receiver.domain.plan import Attempt
from receiver.ports import Clock, Spent


class FakePurse:
    """The Purse port: a list of what was booked, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.booked: list[tuple[datetime, str, Attempt]] = []

    async def spent(self, case: str) -> Spent:
        """Since the last midnight in UTC, and for this case."""
        midnight = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return Spent(
            day=sum(attempt.cost_usd for at, _, attempt in self.booked if at >= midnight),
            case=sum(attempt.cost_usd for _, of, attempt in self.booked if of == case),
        )

    async def book(self, case: str, attempt: Attempt) -> None:
        """Kept."""
        self.booked.append((self._clock.now(), case, attempt))
