"""The past, as the store counts it for one alert."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from receiver.domain.fact import Fact
from receiver.domain.record import Record


class History(Record):
    """What triage, approve and learn want to know; the case that asks is not counted."""

    now: datetime  #: the database's clock
    last_acted_at: datetime | None = None  #: a case of this alert name on this entity last ended after acting
    fires_last_hour: int = 0  #: starts of this fingerprint within an hour
    storm_alerts: int = 0  #: fingerprints of this alert name that opened a case within the storm window
    storm_case: str | None = None  #: the first of them, which speaks for all
    alert_resolved_at: datetime | None = None  #: the source said `resolved`: a hint, never a proof


class Past(Record):
    """How earlier cases of this alert name on this entity ended; the case that asks is not counted."""

    failed: dict[str, int] = {}  #: playbook → runs within a day that did not fix it
    fixed: dict[str, int] = {}  #: playbook → proved fixes within 30 days
    rejected: dict[str, int] = {}  #: playbook → proposals that a person closed within 30 days
    self_resolved: int = 0  #: proved gone within 30 days before anything ran


class Track(Record):
    """What became of a playbook's earlier runs for one alert name: the only confidence that is shown."""

    fixed: int = 0  #: proved
    not_fixed: int = 0  #: still firing after it, no data, failed or interrupted
    not_run: int = 0  #: proposed, and rejected, expired or overtaken

    @property
    def said(self) -> str:
        """One sentence."""
        runs = self.fixed + self.not_fixed
        if not runs:
            return "never run for this alert before" + (f", {self.not_run} times proposed" if self.not_run else "")
        return f"fixed this alert in {self.fixed} of {runs} run{'s' if runs > 1 else ''} before"


def facts_of(past: Past, at: datetime) -> tuple[Fact, ...]:
    """The past as facts of kind `history.*`, counted by us and therefore trusted; nothing is said of zero."""
    counts: tuple[tuple[str, Mapping[str, int]], ...] = (
        ("history.failed", past.failed),
        ("history.fixed", past.fixed),
        ("history.rejected", past.rejected),
        ("history.self_resolved", {"": past.self_resolved}),
    )
    said = [(kind, count, name) for kind, by_name in counts for name, count in sorted(by_name.items()) if count]
    return tuple(
        Fact(id=f"h{n}", kind=kind, value=count, source="track record", note=name, trusted=True, taken_at=at)
        for n, (kind, count, name) in enumerate(said, 1)
    )
