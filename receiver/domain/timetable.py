"""What `policy.yml` schedules, and what becomes of each planned moment.

Decides which moments go off, which were missed, and on which hosts. Of several that were missed one is made up for, or
none, as the schedule says; of several that are due at once the last one speaks for all. Refuses names, zones and
fields that cannot be read, and a schedule that names no host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from receiver.domain.inventory import Host, Inventory
from receiver.domain.matchers import Matchers
from receiver.domain.playbook import Playbook
from receiver.domain.record import Record
from receiver.domain.schedule import Cron, between, delay, next_at
from receiver.errors import Invalid

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}", re.ASCII)
#: later than this it was missed: planners look every few seconds
LATE = timedelta(minutes=10)
#: spread over at most so long
MOST_JITTER_SECONDS = 3600
#: rows of one look; what lies before is counted in the first of them
MOST_ROWS = 100
#: of one schedule: each host is a case of its own
MOST_HOSTS = 100

#: what became of a planned moment
Fate = Literal["ran", "missed", "disabled", "observed", "paused", "overlap", "refused"]


class Schedule(Record):
    """One playbook, on some hosts, every so often."""

    name: str
    cron: str
    zone: str = "UTC"
    jitter_seconds: int = 0
    playbook: str
    hosts: tuple[str, ...] = ()  #: names of the inventory
    match: str = ""  #: or a matcher list over `host`, `site`, `node`, `group` and `kind`
    params: dict[str, Any] = {}  #: without the host
    missed: Literal["once", "skip"] = "once"
    enabled: bool = True

    @property
    def rule(self) -> str:
        """What the moments come from; with another rule they are counted anew."""
        return f"{self.cron} {self.zone}"

    def next_at(self, after: datetime) -> datetime:
        """The next planned moment."""
        return next_at(Cron.parse(self.cron), ZoneInfo(self.zone), after)

    def goes_off_at(self, planned_at: datetime) -> datetime:
        """A planned moment and its jitter."""
        return planned_at + delay(self.name, planned_at, ZoneInfo(self.zone), self.jitter_seconds)


class Scheduled(Record):
    """Why there is a case that neither an alert nor a dispatch began."""

    schedule: str
    commit: str  #: of the policy whose schedule it is
    planned_at: datetime


class Moment(Record):
    """One planned moment, and what became of it."""

    schedule: str
    planned_at: datetime
    due_at: datetime
    fate: Fate
    why: str = ""
    by: str  #: actor
    commit: str


def read_schedules(plain: Mapping[str, Any], *, where: str) -> tuple[Schedule, ...]:
    """The section of the policy, in the order of the file; raises `Invalid` naming schedule and key."""
    return tuple(_read(str(name), said, f"{where}: schedules.{name}") for name, said in plain.items())


def hosts_of(schedule: Schedule, inventory: Inventory) -> tuple[str, ...]:
    """The hosts it means, by name; a name that is not in the inventory stays, for the guard to refuse."""
    if schedule.hosts:
        return schedule.hosts
    matchers = Matchers.parse(schedule.match)
    return tuple(name for name, host in inventory.hosts.items() if matchers.matches(_labels(host)))


def params_for(schedule: Schedule, playbook: Playbook, host: str) -> dict[str, Any]:
    """The parameters of its run on one host: the playbook's defaults, what the schedule sets, and the host."""
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    return {**defaults, **schedule.params, playbook.targets.param: host}


def moments(
    schedule: Schedule,
    since: datetime,
    now: datetime,
    commit: str,
    *,
    paused: str | None = None,
    observes: bool = False,
) -> list[Moment]:
    """What became due since then, in order, each with its fate: at most one of them is to run."""
    planned, before = between(Cron.parse(schedule.cron), ZoneInfo(schedule.zone), since, now, most=MOST_ROWS)
    due: list[tuple[datetime, datetime]] = []
    for moment in planned:
        at = schedule.goes_off_at(moment)
        if at > now:
            break  # what comes after it waits, too: they are worked off in order
        due.append((moment, at))
    is_late = bool(due) and now - due[-1][1] > LATE
    runs = bool(due) and not (is_late and schedule.missed == "skip")
    found = []
    for number, (planned_at, due_at) in enumerate(due, 1):
        fate, why = _fate(schedule, now - due_at, is_last=number == len(due), runs=runs, paused=paused)
        if fate == "ran" and observes:
            fate, why = "observed", "policy.yml is in mode observe: no host is touched"
        if number == 1 and before:
            why = f"{why}; {before} earlier moments are told by this row".removeprefix("; ")
        found.append(
            Moment(schedule=schedule.name, planned_at=planned_at, due_at=due_at, fate=fate, why=why,
                   by=actor_of(schedule.name, commit), commit=commit)
        )  # fmt: skip
    return found


def actor_of(name: str, commit: str) -> str:
    """Who asks: the policy that people merged."""
    return f"policy:{name}@{commit}"


def _fate(schedule: Schedule, late: timedelta, *, is_last: bool, runs: bool, paused: str | None) -> tuple[Fate, str]:
    if not schedule.enabled:
        return "disabled", "`enabled: no` in policy.yml"
    if paused and late <= LATE:
        return "paused", paused
    if is_last and runs:
        return "ran", f"made up for: it was due {_said(late)} ago" if late > LATE else ""
    if not is_last and runs:
        return "missed", "nothing looked at the time; the last one speaks for all"
    return "missed", f"nothing looked at the time, {_said(late)} ago; `missed: skip` in policy.yml"


def _said(late: timedelta) -> str:
    minutes = int(late.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _labels(host: Host) -> dict[str, str]:
    return {"host": host.name, "site": host.site, "node": host.node or "", "group": host.group or "", "kind": host.kind}


def _read(name: str, said: Any, where: str) -> Schedule:
    if not _NAME.fullmatch(name):
        raise Invalid("a name has small letters, digits, dashes and underscores", where=where)
    if not isinstance(said, dict) or "name" in said:
        raise Invalid(f"{said!r:.80} is not understood", where=where)
    try:
        schedule = Schedule.model_validate({"name": name, **said})
        Cron.parse(schedule.cron)
        Matchers.parse(schedule.match)
        ZoneInfo(schedule.zone)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", where=where) from error
    except Invalid as error:
        raise Invalid(error.message, where=where, next_step=error.next_step) from error
    except (ValueError, KeyError, OSError) as error:
        raise Invalid(f"zone: {schedule.zone!r:.40} is no time zone such as Europe/Berlin", where=where) from error
    if bool(schedule.hosts) == bool(schedule.match):
        raise Invalid("say either `hosts`, a list of names, or `match`, a matcher list", where=where)
    if not 0 <= schedule.jitter_seconds <= MOST_JITTER_SECONDS:
        raise Invalid(f"jitter: {schedule.jitter_seconds} seconds are not from 0 to 1h", where=where)
    return schedule
