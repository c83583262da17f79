"""What models did, counted by model: exported by the server from the worker's heartbeat."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from receiver.domain.plan import Attempt


class Tally:
    """Counts since this worker began. `baseline_usd` is what the strongest tier alone would have cost."""

    def __init__(self) -> None:
        self.attempts: dict[str, Counter[str]] = defaultdict(Counter)
        self.sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.plans: Counter[str] = Counter()
        self.baseline_usd = 0.0
        self.cost_usd = 0.0

    def note(self, attempt: Attempt) -> None:
        """One attempt: `success`, or the reason why it moved on, which is also a `fallback`."""
        name = attempt.model or attempt.tier
        self.attempts[name]["success" if attempt.verdict == "accepted" else attempt.reason or "unsure"] += 1
        if attempt.verdict != "accepted":
            self.attempts[name]["fallback"] += 1
        sums = self.sums[name]
        sums["requests"] += attempt.requests
        sums["tokens_in"] += attempt.tokens_in
        sums["tokens_cached"] += attempt.tokens_cached
        sums["tokens_out"] += attempt.tokens_out
        sums["cost_usd"] += attempt.cost_usd
        sums["seconds"] += attempt.seconds
        self.cost_usd += attempt.cost_usd

    def view(self) -> dict[str, Any]:
        """Plain data for the heartbeat row."""
        return {
            "attempts": {name: dict(counts) for name, counts in self.attempts.items()},
            "sums": {name: dict(sums) for name, sums in self.sums.items()},
            "plans": dict(self.plans),
            "cost_usd": self.cost_usd,
            "baseline_usd": self.baseline_usd,
        }
