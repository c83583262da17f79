"""Planned moments in memory: each filed once, with its cases over the fake rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.case import Planned
from receiver.domain.timetable import Moment
from receiver.errors import Conflict, Refused
from receiver.ports import Clock, Event, Page
from receiver.testing.store import FakeCases

_AHEAD = timedelta(minutes=1)


class FakeSchedules:
    """The Schedules and Timetables ports; what is filed first stands."""

    def __init__(self, clock: Clock, cases: FakeCases) -> None:
        self._clock, self._cases = clock, cases
        self.known: dict[str, tuple[str, datetime, datetime | None]] = {}
        self.filed: dict[tuple[str, datetime], tuple[Moment, tuple[str, ...]]] = {}

    async def keep(self, names: Sequence[str]) -> None:
        """The others are forgotten."""
        self.known = {name: one for name, one in self.known.items() if name in names}

    async def since(self, name: str, rule: str) -> datetime:
        """Now for what is new, and for a mark that lies ahead."""
        now = self._clock.now()
        known = self.known.get(name)
        if known is not None and known[1] > now + _AHEAD:
            self.filed = {key: one for key, one in self.filed.items() if key[0] != name or key[1] <= now + _AHEAD}
            known = None
        if known is None or known[0] != rule:
            self.known[name] = (rule, now, known[2] if known else None)
        return self.known[name][1]

    async def passed(self, name: str, upto: datetime, next_at: datetime | None) -> None:
        """Never back."""
        if name in self.known:
            rule, since, _ = self.known[name]
            self.known[name] = (rule, max(since, upto), next_at)

    async def file(self, moment: Moment, cases: Sequence[Planned]) -> bool:
        """Once, and no case beside one that is open."""
        key = (moment.schedule, moment.planned_at)
        mine = [one for one in sorted(self.filed.items()) if one[0][0] == moment.schedule and one[0] != key]
        filed = [id for _, (_, known) in mine for id in known]
        still = next((id for id in filed if self._cases.rows[id].closed_at is None), None)
        if cases and still is not None:
            raise Conflict(f"case {still} of its last run is open")
        if key in self.filed:
            return False
        self.filed[key] = (moment, tuple(case.id for case in cases))
        for case in cases:
            await self._cases.open(case, [Event(kind="case.planned", actor=moment.by, text=case.plan.why)])
        return True

    async def marks(self) -> list[dict[str, Any]]:
        """By name."""
        found = []
        for name, (_, since, next_at) in sorted(self.known.items()):
            own = sorted((at, moment) for (of, at), (moment, _) in self.filed.items() if of == name)
            ran = [at for at, moment in own if moment.fate == "ran"]
            last = own[-1][1] if own else None
            found.append(
                {"name": name, "since": since, "next_at": next_at, "last_at": last and last.planned_at,
                 "last_fate": last and last.fate, "last_why": last and last.why, "ran_at": ran[-1] if ran else None}
            )  # fmt: skip
        return found

    async def moments(self, name: str | None, *, limit: int, cursor: str | None) -> Page:
        """Newest first."""
        if cursor and not cursor.isdigit():
            raise Refused(f"{cursor!r} is no cursor", reason="cursor")
        rows = [
            {"number": number, **moment.model_dump(), "filed_at": moment.due_at,
             "cases": [self._case(id) for id in cases]}
            for number, (moment, cases) in enumerate(self.filed.values(), 1)
            if name in (None, moment.schedule)
        ]  # fmt: skip
        found = [row for row in reversed(rows) if not cursor or row["number"] < int(cursor)]
        limit = max(1, limit)
        return Page(items=tuple(found[:limit]), next=str(found[limit - 1]["number"]) if len(found) > limit else None)

    def _case(self, id: str) -> dict[str, Any]:
        case = self._cases.rows[id].case
        entity, runfile = getattr(case, "entity", None), getattr(case, "runfile", None)
        outcome = getattr(case, "outcome", None)
        return {"id": id, "state": case.kind, "outcome": outcome and str(outcome),
                "entity": entity.name if entity else None, "run": runfile.run if runfile else None}  # fmt: skip
