"""One tier by itself, for evaluations: no routing, no other tier, no rules behind it.

Decides nothing of its own: what the tier does not answer is a word to a person. Its money is counted here, under the
same budget as a day's cases, so that an evaluation cannot cost more than a day may.
"""

from __future__ import annotations

from collections import defaultdict

from receiver.adapters.planner.tiers import TieredPlanner
from receiver.domain.plan import Attempt, Plan
from receiver.domain.question import Question
from receiver.ports import Spent


class TierAlone:
    """The Planner port: a single tier of a chain."""

    def __init__(self, tiered: TieredPlanner, tier: str) -> None:
        self._tiered, self._tier = tiered, tier

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """Its answer, or `notify` with the reason why there is none."""
        plan, attempt = await self._tiered.ask(self._tier, question)
        if plan is None:
            plan = Plan(action="notify", why=f"tier {self._tier} has no answer: {attempt.why}", tier=self._tier)
        return plan, [attempt]


class OwnPurse:
    """The Purse port in this process: what was spent since it began."""

    def __init__(self) -> None:
        self._cases: defaultdict[str, float] = defaultdict(float)

    async def spent(self, case: str) -> Spent:
        """All of it counts as today's."""
        return Spent(day=sum(self._cases.values()), case=self._cases[case])

    async def book(self, case: str, attempt: Attempt) -> None:
        """Added."""
        self._cases[case] += attempt.cost_usd
