"""When a schedule is due: five cron fields, a zone, a jitter that everybody agrees on.

Decides that each local time counts once: one that the clocks bring twice is the first of the two, one that they
skip is the first moment after the gap, together with whatever else is due then. Refuses macros, names of its own
making, and fields that pick nothing. No input and no clock: the same question has the same answer everywhere.
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/crontab.html
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import product
from zoneinfo import ZoneInfo

from receiver.errors import Invalid

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day", 1, 31, ()), ("month", 1, 12, _MONTHS),
           ("weekday", 0, 7, _DAYS))  # fmt: skip
_PART = re.compile(r"(?:\*|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/([0-9]+))?", re.ASCII)
_SHAPE = "five fields: minute, hour, day, month, weekday, such as 0 2 * * 0"
#: how far the next moment is looked for: 29 February on a given weekday comes every 28 years, or 40 over 2100
_YEARS = 45
#: more often than this nothing is scheduled: each moment leaves a row
MOST_AN_HOUR = 12


@dataclass(frozen=True)
class Cron:
    """A parsed list of five fields."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  #: 0 is Sunday
    either: bool  #: day and weekday are both restricted: one that fits is enough, as cron has it

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read the five fields; raises `Invalid` quoting the one that is not understood."""
        return _parse(text)

    def is_on(self, day: date) -> bool:
        """Whether anything is due on this date."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.either else in_month and in_week


def next_at(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment later than `after`, in UTC; raises `Invalid` when none comes."""
    for moment in _moments(cron, zone, after):
        return moment
    raise Invalid("no such moment comes", where="cron", next_step=_SHAPE)


def between(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime, *, most: int) -> tuple[list[datetime], int]:
    """Moments later than `after`, up to and with `until`: the last `most` of them, and how many came before those."""
    found: deque[datetime] = deque(maxlen=most)
    count = 0
    for moment in _moments(cron, zone, after):
        if moment > until:
            break
        found.append(moment)
        count += 1
    return list(found), count - len(found)


def delay(name: str, moment: datetime, zone: ZoneInfo, jitter_seconds: int) -> timedelta:
    """How much later than its moment a schedule goes off: up to the jitter, the same for everybody who asks."""
    said = f"{name}\0{moment.astimezone(zone).date().isoformat()}"
    number = int.from_bytes(sha256(said.encode()).digest()[:8])
    return timedelta(seconds=number % (jitter_seconds + 1))


def _moments(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """All that are later, in order and each once."""
    day, last = after.astimezone(zone).date() - timedelta(days=1), after
    for _ in range(_YEARS * 366):
        for hour, minute in product(cron.hours, cron.minutes) if cron.is_on(day) else ():
            moment = _instant(datetime.combine(day, time(hour, minute)), zone)
            if moment > last:
                yield moment
                last = moment
        day += timedelta(days=1)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the zone's clocks show this time, or have gone past it."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    if second <= first:
        return (local - first).replace(tzinfo=UTC)
    # skipped: the clocks go forward at some second between the two readings of it
    before, behind = (local - second).replace(tzinfo=UTC), (local - first).replace(tzinfo=UTC)
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == first:
            before = middle
        else:
            behind = middle
    return behind


@lru_cache(maxsize=256)
def _parse(text: str) -> Cron:
    fields = text.split()
    if len(fields) != len(_FIELDS) or len(text) > 200:
        raise Invalid(f"{text!r:.80} has {len(fields)} fields", where="cron", next_step=_SHAPE)
    found = [_field(said, *shape) for said, shape in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = found
    if len(minutes) > MOST_AN_HOUR:
        raise Invalid(f"minute: {fields[0]!r} is {len(minutes)} times an hour, {MOST_AN_HOUR} are the most",
                      where="cron", next_step="write */5 or less often")  # fmt: skip
    cron = Cron(
        minutes=tuple(sorted(minutes)), hours=tuple(sorted(hours)), days=frozenset(days), months=frozenset(months),
        weekdays=frozenset(one % 7 for one in weekdays),
        either=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )  # fmt: skip
    if not any(cron.is_on(date(2024, 1, 1) + timedelta(days=number)) for number in range(28 * 366)):
        raise Invalid(f"{text!r} names a date that never comes", where="cron", next_step=_SHAPE)
    return cron


def _field(said: str, name: str, least: int, most: int, words: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for part in said.split(","):
        match = _PART.fullmatch(part.lower())
        if match is None:
            raise Invalid(f"{name}: {part!r:.40} is not understood", where="cron", next_step=_SHAPE)
        first, last, step = match.groups()
        if first is None:
            start, end = least, most
        else:
            start = _number(first, name, least, most, words)
            end = _number(last, name, least, most, words) if last else (most if step else start)
        every = int(step) if step else 1
        if end < start or not 1 <= every <= most:
            raise Invalid(f"{name}: {part!r:.40} picks nothing", where="cron", next_step=_SHAPE)
        found.update(range(start, end + 1, every))
    return found


def _number(said: str, name: str, least: int, most: int, words: tuple[str, ...]) -> int:
    if said in words:
        return words.index(said) + least
    if said.isdigit() and len(said) <= 2 and least <= int(said) <= most:
        return int(said)
    raise Invalid(f"{name}: {said!r:.40} is not from {least} to {most}", where="cron", next_step=_SHAPE)
