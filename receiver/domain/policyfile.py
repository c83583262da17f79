"""`policy.yml` of one revision, raw → valid. Holds no secrets; refuses unknown keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from receiver.domain.document import read_mapping
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Mode, Risk
from receiver.domain.record import Record
from receiver.domain.timetable import Schedule, read_schedules
from receiver.errors import Invalid

_WHERE = "policy.yml"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DURATION = re.compile(r"(\d+)(s|m|h|d)", re.ASCII)
_PLAYBOOK = re.compile(r"[a-z][a-z0-9_]{0,82}", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Person(Record):
    """Somebody who may decide."""

    name: str
    os: tuple[str, ...] = ()  #: names of OS users
    session: tuple[str, ...] = ()  #: names of web sessions
    forges: dict[str, str] = {}  #: forge → login, or `id:` and the forge's own number, which never changes hands
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
    max_risk: Risk | None = None  #: the highest risk that a machine may propose here
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
    rehearsal_age_seconds: int = 3600  #: an older dry run is repeated before the run
    quiet_seconds: int = 24 * 3600  #: what somebody who may approve turned down is not proposed again for so long


class Policy(Record):
    """What may happen, decided by the people who merged it."""

    mode: Mode = Mode.OBSERVE
    sources: dict[str, Mode] = {}
    people: tuple[Person, ...] = ()
    solo: str | None = None  #: `approvals.solo`: for this person a merge is the approval, up to medium
    posture: Literal["strict", "warn"] = "strict"  #: `approvals.posture`: what a badly protected base branch means
    isolation_none_allowed: tuple[str, ...] = ()  #: sites
    limits: Limits = Limits()
    windows: tuple[Window, ...] = ()
    rules: tuple[Rule, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    read_without_proposal: tuple[str, ...] = ()  #: playbooks that only read: a schedule runs these at once

    def mode_of(self, source: str) -> Mode:
        """The mode of one source: what it says for itself, never above the ceiling."""
        own = self.sources.get(source, Mode.OBSERVE)
        return Mode.PROPOSE if own == self.mode == Mode.PROPOSE else Mode.OBSERVE


def rule_for(
    policy: Policy, *, labels: Mapping[str, str], host: str | None, playbook: str | None, risk: Risk | None
) -> Rule | None:
    """The first rule whose selectors all hold; a selector over what is not known yet does not hold."""
    for rule in policy.rules:
        if (
            Matchers.parse(rule.match).matches(labels)
            and (not rule.hosts or host in rule.hosts)
            and (not rule.playbooks or playbook in rule.playbooks)
            and (not rule.risks or risk in rule.risks)
        ):
            return rule
    return None


def not_isolated(rung: str, policies: Sequence[Policy], sites: Iterable[str]) -> str | None:
    """Why a run may not go without a sandbox: every policy that counts has to allow it for each of its sites."""
    missing = [site for site in sites if not all(site in policy.isolation_none_allowed for policy in policies)]
    if rung != "none" or not missing:
        return None
    return f"no sandbox works here, and policy.yml does not allow none for site {missing[0]!r}"


def window_covers(window: Window, moment: datetime, labels: Mapping[str, str]) -> bool:
    """Whether a maintenance window is open for these labels, in its own zone; one over midnight belongs to
    the day on which it begins."""
    if not Matchers.parse(window.match).matches(labels):
        return False
    if _is_single(window.start):
        zone = ZoneInfo(window.zone)
        start, end = (datetime.fromisoformat(text).replace(tzinfo=zone) for text in (window.start, window.end))
        return start <= moment < end
    local = moment.astimezone(ZoneInfo(window.zone))
    start_at, end_at, now = time.fromisoformat(window.start), time.fromisoformat(window.end), local.time()
    days = window.days or _DAYS
    today, yesterday = _DAYS[local.weekday()], _DAYS[(local.weekday() - 1) % 7]
    if start_at <= end_at:
        return today in days and start_at <= now < end_at
    return (today in days and now >= start_at) or (yesterday in days and now < end_at)


def read_policy(content: bytes) -> Policy:
    """`policy.yml`; raises `Invalid` naming the key."""
    plain = read_mapping(content, where=_WHERE)
    approvals = _section(plain, "approvals", {"solo", "posture"})
    isolation = _section(plain, "isolation", {"none_allowed"})
    limits = {
        _limit_name(key): _seconds(f"limits.{key}", value) for key, value in _section(plain, "limits", None).items()
    }
    sources = {name: _mode(name, said) for name, said in _section(plain, "sources", None).items()}
    schedules = read_schedules(_with_jitter(_section(plain, "schedules", None)), where=_WHERE)
    known = {"mode", "people", "maintenance", "rules", "read_without_proposal"}
    unknown = set(plain) - known
    if unknown:
        raise Invalid(f"unknown key {sorted(unknown)[0]!r}", where=_WHERE, next_step="gitmedic config schema")
    try:
        policy = Policy.model_validate(
            {
                "mode": plain.get("mode", "observe"),
                "sources": sources,
                "people": plain.get("people") or (),
                "solo": approvals.get("solo"),
                # one person cannot be protected from themselves by a rule that they may lift
                "posture": approvals.get("posture", "warn" if approvals.get("solo") else "strict"),
                "isolation_none_allowed": isolation.get("none_allowed", ()),
                "limits": limits,
                "windows": plain.get("maintenance") or (),
                "rules": plain.get("rules") or (),
                "schedules": schedules,
                "read_without_proposal": plain.get("read_without_proposal") or (),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", where=_WHERE) from error
    _check(policy)
    return policy


def _section(plain: dict[str, Any], name: str, keys: set[str] | None) -> dict[str, Any]:
    found = plain.pop(name, None) or {}
    if not isinstance(found, dict) or (keys is not None and set(found) - keys):
        raise Invalid(f"{name}: {found!r:.80} is not understood", where=_WHERE)
    return found


def _mode(source: str, said: Any) -> Any:
    if not isinstance(said, dict) or set(said) != {"mode"}:
        raise Invalid(f"sources.{source}: expected {{mode: observe}} or {{mode: propose}}", where=_WHERE)
    return said["mode"]


def _limit_name(key: str) -> str:
    return key if key in Limits.model_fields else f"{key}_seconds"


def _seconds(key: str, value: Any) -> Any:
    """`5m` as 300; numbers stay."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if not match:
            raise Invalid(f"{key}: {value!r} is no duration such as 30s, 5m or 4h", where=_WHERE)
        return int(match[1]) * _UNITS[match[2]]
    return value


def _with_jitter(section: dict[str, Any]) -> dict[str, Any]:
    """`jitter: 10m` as seconds; what is no mapping is left for its own reader to refuse."""
    found = {}
    for name, said in section.items():
        own = dict(said) if isinstance(said, dict) else said
        if isinstance(own, dict) and "jitter" in own:
            own["jitter_seconds"] = _seconds(f"schedules.{name}.jitter", own.pop("jitter"))
        found[name] = own
    return found


def _is_single(text: str) -> bool:
    return len(text) > len("HH:MM:SS")


def _check(policy: Policy) -> None:
    """What one record cannot say of itself: names that must be unique, zones and times that must exist."""
    for kind in ("name", "os", "session"):
        said = [value for person in policy.people for value in _names(person, kind)]
        twice = next((value for value in said if said.count(value) > 1), None)
        if twice is not None:
            raise Invalid(f"people: two have {kind} {twice!r}", where=_WHERE)
    _forge_names(policy)
    if policy.solo is not None and policy.solo not in {person.name for person in policy.people}:
        raise Invalid(f"approvals.solo: {policy.solo!r} is not in people", where=_WHERE)
    for rule in policy.rules:
        Matchers.parse(rule.match)
    for playbook in policy.read_without_proposal:
        if not _PLAYBOOK.fullmatch(playbook):
            raise Invalid(f"read_without_proposal: {playbook!r:.60} is no id of a playbook", where=_WHERE)
    for window in policy.windows:
        try:
            Matchers.parse(window.match)
            anybody = window.model_copy(update={"match": ""})
            window_covers(anybody, datetime.combine(date(2026, 1, 1), time(), UTC), {})
        except (ValueError, KeyError, OSError) as error:
            raise Invalid(f"maintenance {window.name!r}: {error}", where=_WHERE) from error


def _forge_names(policy: Policy) -> None:
    """One account is one person: else one of them could be counted as two."""
    said = [(forge, account.lower()) for person in policy.people for forge, account in person.forges.items()]
    twice = next((one for one in said if said.count(one) > 1 or not one[1]), None)
    if twice is not None:
        raise Invalid(f"people: {twice[0]} account {twice[1]!r} must be exactly one person's", where=_WHERE)


def _names(person: Person, kind: str) -> tuple[str, ...]:
    value = getattr(person, kind)
    return (value,) if isinstance(value, str) else value
