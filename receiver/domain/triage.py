"""Is this worth looking at now? One row per reason why not; the first that says so ends the case.

To add a reason why nothing happens, add a row here and its word to `Outcome`.
"""

from __future__ import annotations

from datetime import timedelta

from receiver.domain.alert import Alert
from receiver.domain.history import History
from receiver.domain.outcome import Outcome
from receiver.domain.policyfile import Policy, Rule, rule_for, window_covers
from receiver.domain.record import Record
from receiver.domain.table import Row


class Look(Record):
    """What triage sees."""

    case: str
    alert: Alert
    host: str | None  #: the entity's host, when there is an entity
    history: History
    policy: Policy

    @property
    def rule(self) -> Rule | None:
        """The policy rule that speaks for this alert."""
        return rule_for(self.policy, labels=self.alert.labels, host=self.host, playbook=None, risk=None)


def in_maintenance(look: Look) -> str | None:
    """A window of the policy, in its own zone."""
    for window in look.policy.windows:
        if window_covers(window, look.history.now, look.alert.labels):
            return f"the maintenance window {window.name!r} covers it"
    return None


def in_storm(look: Look) -> str | None:
    """Many entities with one alert name at once have one cause: the first case speaks for all (rule S15)."""
    limits, past = look.policy.limits, look.history
    if past.storm_alerts < limits.storm_alerts or past.storm_case in (None, look.case):
        return None
    return (
        f"{past.storm_alerts} alerts named {look.alert.name!r} within {limits.storm_seconds} s:"
        f" case {past.storm_case} speaks for them"
    )


def in_cooldown(look: Look) -> str | None:
    """Something was done about this a moment ago."""
    rule = look.rule
    seconds = look.policy.limits.cooldown_seconds
    if rule is not None and rule.cooldown_seconds is not None:
        seconds = rule.cooldown_seconds
    last = look.history.last_acted_at
    if last is None or look.history.now - last >= timedelta(seconds=seconds):
        return None
    return f"a case for it ended at {last:%H:%M:%S} UTC; it rests for {seconds} s"


def is_flapping(look: Look) -> str | None:
    """It comes and goes: no single fix will hold."""
    fires, limit = look.history.fires_last_hour, look.policy.limits.flapping_fires
    return f"it fired {fires} times within an hour, {limit} is the limit" if fires > limit else None


TRIAGE: tuple[Row[Look], ...] = (
    Row("maintenance", "Is no maintenance window open?", in_maintenance, ("clock",), Outcome.MAINTENANCE),
    Row("storm", "Is it alone, or the first of its kind?", in_storm, ("database",), Outcome.STORM),
    Row("flapping", "Does it stay when it comes?", is_flapping, ("database",), Outcome.FLAPPING),
    Row("cooldown", "Has its last case had time to settle?", in_cooldown, ("database",), Outcome.COOLDOWN),
)
