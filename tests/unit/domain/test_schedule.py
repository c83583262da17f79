"""When schedules are due: the fields, and every local time once through the changes of the clocks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from receiver.domain.schedule import Cron, between, delay, next_at
from receiver.errors import Invalid

BERLIN, NEW_YORK, LORD_HOWE = (ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 2 * * 0", BERLIN, "2026-11-26 12:00", "2026-11-29 01:00"),
        ("0 2 * * 7", BERLIN, "2026-11-26 12:00", "2026-11-29 01:00"),
        ("0 2 * * sun", BERLIN, "2026-11-29 01:00", "2026-12-06 01:00"),
        ("*/20 9-10 * * mon-fri", BERLIN, "2026-11-27 09:40", "2026-11-30 08:00"),
        ("5 4 29 feb *", BERLIN, "2026-01-01 00:00", "2028-02-29 03:05"),
        ("0 0 1,15 * *", NEW_YORK, "2026-11-26 00:00", "2026-12-01 05:00"),
        ("0 12 13 * 5", BERLIN, "2026-11-26 12:00", "2026-11-27 11:00"),  # either is enough, as cron has it
        ("0 12 */2 * 5", BERLIN, "2026-11-26 12:00", "2026-11-27 11:00"),  # a star in front: both must hold
        ("10/25 3 * * *", BERLIN, "2026-11-26 02:10", "2026-11-26 02:35"),
        # the clocks go forward over 02:00 to 03:00: the first moment after
        ("30 2 * * *", BERLIN, "2026-03-28 12:00", "2026-03-29 01:00"),
        ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", "2026-03-08 07:00"),
        ("15 2 * * *", LORD_HOWE, "2026-10-02 16:00", "2026-10-03 15:30"),  # half an hour only
        # and back from 03:00 to 02:00: the first of the two, and not again
        ("30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 00:30"),
        ("30 2 * * *", BERLIN, "2026-10-25 00:30", "2026-10-26 01:30"),
        # a day that an island left out: the first moment of the next
        ("0 12 30 12 *", ZoneInfo("Pacific/Apia"), "2011-12-29 12:00", "2011-12-30 10:00"),
    ],
)  # fmt: skip
def test_the_next_moment(cron: str, zone: ZoneInfo, after: str, expected: str) -> None:
    assert next_at(Cron.parse(cron), zone, utc(after)) == utc(expected)


@pytest.mark.parametrize(
    "cron",
    [
        "", "0 2 * *", "0 2 * * * *", "@daily", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8",
        "5-1 2 * * *", "*/0 2 * * *", "* 2 * * *", "*/4 2 * * *", "0 2 30 2 *", "0 2 * * sun#2", "0 2 L * *",
        "-1 2 * * *", "0,,1 2 * * *", "0 2 * * monday", "٠ 2 * * *", "0 2 31 apr,jun *", "1e1 2 * * *",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(cron: str) -> None:
    with pytest.raises(Invalid):
        Cron.parse(cron)


def by_force(cron: Cron, zone: ZoneInfo, start: datetime, minutes: int) -> list[datetime]:
    """Minute by minute: a wall clock that is due when it shows, or jumps over, a local time it has not shown."""
    found: list[datetime] = []
    shown = start.astimezone(zone).replace(tzinfo=None)
    for number in range(1, minutes):
        moment = start + timedelta(minutes=number)
        wall = moment.astimezone(zone).replace(tzinfo=None)
        passed = shown + timedelta(minutes=1)
        is_due = False
        while passed <= wall:  # more than one round only where the clocks were put forward
            is_due |= cron.is_on(passed.date()) and passed.hour in cron.hours and passed.minute in cron.minutes
            passed += timedelta(minutes=1)
        if is_due:
            found.append(moment)
        shown = max(shown, wall)  # put back: nothing is shown anew until it has caught up
    return found


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE], ids=str)
def test_every_local_time_counts_once_as_a_wall_clock_shows_it(zone: ZoneInfo) -> None:
    rng = random.Random(7)
    changes = {BERLIN: ("03-28", "10-24"), NEW_YORK: ("03-07", "10-31"), LORD_HOWE: ("04-03", "10-02")}[zone]
    for change in changes:
        start = utc(f"2026-{change} 00:00")
        for _ in range(12):
            minute = rng.choice(["0", "30", "*/5", "15,45", "7", "*/20"])
            hour = rng.choice(["*", "1-3", "2", "*/2", "0,23", "1,2,3"])
            cron = Cron.parse(f"{minute} {hour} * * {rng.choice(['*', '0', 'sat', '1-5'])}")
            expected = by_force(cron, zone, start, 3 * 1440)
            found, dropped = between(cron, zone, start, start + timedelta(minutes=3 * 1440 - 1), most=10_000)
            assert (found, dropped) == (expected, 0)


def test_the_last_of_many_are_kept_and_the_rest_are_counted() -> None:
    cron, start = Cron.parse("0 * * * *"), utc("2026-11-01 00:00")
    found, dropped = between(cron, ZoneInfo("UTC"), start, start + timedelta(days=2), most=10)
    assert len(found) == 10 and found[-1] == start + timedelta(days=2)
    assert dropped == 38


def test_the_jitter_is_the_same_for_all_and_another_every_day() -> None:
    days = [utc("2026-11-01 02:00") + timedelta(days=number) for number in range(200)]
    found = [delay("audit", day, BERLIN, 600) for day in days]
    assert found == [delay("audit", day, BERLIN, 600) for day in days]
    assert found != [delay("review", day, BERLIN, 600) for day in days]
    assert timedelta() <= min(found) < timedelta(seconds=60)
    assert timedelta(seconds=540) < max(found) <= timedelta(seconds=600)
    assert delay("audit", days[0], BERLIN, 0) == timedelta()
