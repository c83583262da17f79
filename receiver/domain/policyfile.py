"""`policy.yml` of one revision, raw → valid. Holds no secrets; refuses unknown keys."""

from __future__ import annotations

from typing import Literal

from receiver.domain.outcome import Mode, Risk
from receiver.domain.record import Record


class Person(Record):
    """Somebody who may decide."""

    name: str
    os: tuple[str, ...] = ()  #: names of OS users
    session: tuple[str, ...] = ()  #: names of web sessions
    forges: dict[str, str] = {}
    ssh_keys: tuple[str, ...] = ()
    approves: Risk | None = None  #: up to and including
    dispatches: bool = False


class Window(Record):
    """A maintenance window, each week or once, in a zone."""

    name: str
    match: str = ""  #: matcher list over labels; empty = everything
    zone: str = "UTC"
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    start: str  #: `HH:MM`, or a date and time for a single window
    end: str


class Rule(Record):
    """One policy rule; the first whose selectors all match says what it says."""

    name: str
    match: str = ""
    playbooks: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    hosts: tuple[str, ...] = ()
    autonomy: Literal["observe", "propose", "auto"] | None = None
    approvals: int | None = None
    cooldown_seconds: int | None = None


class Limits(Record):
    """Counted in the database, failing closed."""

    open_proposals: int = 3
    proposals_per_hour: int = 6
    cooldown_seconds: int = 300
    expiry_seconds: int = 4 * 3600
    storm_alerts: int = 3  #: entities with one alert name within the storm window
    storm_seconds: int = 300
    flapping_fires: int = 4  #: fires of one fingerprint within an hour
    rehearsals: int = 2  #: at once


class Policy(Record):
    """What may happen, decided by the people who merged it."""

    mode: Mode = Mode.OBSERVE
    sources: dict[str, Mode] = {}
    people: tuple[Person, ...] = ()
    solo: str | None = None  #: `approvals.solo`: for this person a merge is the approval, up to medium
    isolation_none_allowed: tuple[str, ...] = ()  #: sites
    limits: Limits = Limits()
    windows: tuple[Window, ...] = ()
    rules: tuple[Rule, ...] = ()

    def mode_of(self, source: str) -> Mode:
        """The mode of one source: what it says for itself, never above the ceiling."""
        own = self.sources.get(source, Mode.OBSERVE)
        return Mode.PROPOSE if own == self.mode == Mode.PROPOSE else Mode.OBSERVE
