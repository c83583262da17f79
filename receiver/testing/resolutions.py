"""What people said about interrupted runs, in memory."""

from __future__ import annotations

from typing import Any

from receiver.domain.case import Closed, Planned
from receiver.domain.outcome import Outcome
from receiver.domain.proof import Verification
from receiver.domain.resolution import Resolution
from receiver.ports import Event
from receiver.testing.store import FakeCases


class FakeResolutions:
    """The Resolutions port over the fake rows."""

    def __init__(self, cases: FakeCases) -> None:
        self._cases = cases
        self.said: dict[str, list[Resolution]] = {}

    async def say(self, case: str, word: Resolution, opens: Planned | None = None) -> bool:
        """Until one settles it; with the case that it opens."""
        row = self._cases.rows.get(case)
        found = row.case if row is not None else None
        words = self.said.setdefault(case, [])
        if not isinstance(found, Closed) or found.outcome is not Outcome.INTERRUPTED or any(o.settles for o in words):
            return False
        words.append(word.model_copy(update={"at": self._cases.now()}))
        self._cases.told(case, Event(kind=f"resolution.{word.act}", actor=word.actor, text=word.reason))
        if opens is not None:
            event = Event(kind="case.planned", actor=word.actor, text=opens.plan.why, data={"after": case})
            await self._cases.open(opens, [event])
        return True

    async def of(self, case: str) -> tuple[Resolution, ...]:
        """Oldest first."""
        return tuple(self.said.get(case, ()))

    async def asked(self) -> list[str]:
        """Those without an answer."""
        return [case for case, words in self.said.items() if any(_is_asked(word) for word in words)]

    async def answer(self, case: str, verification: Verification, *, settles: bool) -> None:
        """For all who asked."""
        seen: dict[str, Any] = {"verdict": verification.verdict, "why": verification.why}
        words = self.said.get(case, [])
        if not any(_is_asked(word) for word in words):
            return
        self.said[case] = [word.model_copy(update=seen) if _is_asked(word) else word for word in words]
        if settles and not any(word.settles for word in words):
            self.said[case].append(
                Resolution(act="verify", actor="system", at=self._cases.now(), settles=True, **seen)
            )  # fmt: skip
        row = self._cases.rows[case]
        row.case = row.case.model_copy(update={"verification": verification})
        text = f"{verification.verdict}: {verification.why}"
        self._cases.told(case, Event(kind="resolution.verified", actor="system", text=text))

    async def waiting(self) -> int:
        """Interrupted and not settled."""
        closed = [row.case for row in self._cases.rows.values() if isinstance(row.case, Closed)]
        return sum(
            one.outcome is Outcome.INTERRUPTED and not any(word.settles for word in self.said.get(one.id, ()))
            for one in closed
        )


def _is_asked(word: Resolution) -> bool:
    return word.act == "verify" and word.verdict is None
