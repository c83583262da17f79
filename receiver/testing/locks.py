"""Locks and their queue in memory."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.domain.outcome import Role
from receiver.testing.store import FakeCases


class FakeLocks:
    """The Locks port: all or none, and whoever waits longest goes first."""

    def __init__(self, cases: FakeCases | None = None) -> None:
        self._cases = cases
        self.held: dict[str, tuple[str, str]] = {}
        #: run → case, names and reason, in the order in which they came
        self.queue: dict[str, tuple[str, frozenset[str], str]] = {}

    async def take(self, run: str, case: str, names: Sequence[str], reason: str = "") -> str | None:
        """None when all are ours."""
        wanted, said = frozenset(names), reason or f"run {run}"
        self.queue[run] = (case, wanted, said)
        for name in sorted(wanted):
            if name in self.held and self.held[name][0] != run:
                return f"{name} is held by {self.held[name][1]}"
        for earlier, (whose, theirs, why) in self.queue.items():
            if earlier == run:
                break
            if theirs & wanted and self._counts(whose):
                return f"{why} of case {whose} waits for {min(theirs & wanted)} longer"
        self.held |= {name: (run, said) for name in names}
        del self.queue[run]
        return None

    async def free(self, run: str) -> None:
        """All of this run's, its place in the queue too; who waits for them is due."""
        freed = {name for name, value in self.held.items() if value[0] == run}
        freed |= self.queue.pop(run, ("", frozenset(), ""))[1]
        self.held = {name: value for name, value in self.held.items() if value[0] != run}
        for case, names, _ in self.queue.values():
            if self._cases is not None and names & freed and case in self._cases.rows:
                self._cases.rows[case].due_at = self._cases.now()

    def _counts(self, case: str) -> bool:
        """The place of a case that has ended is nobody's."""
        if self._cases is None:
            return True
        return case in self._cases.rows and self._cases.rows[case].role is Role.EXECUTE
