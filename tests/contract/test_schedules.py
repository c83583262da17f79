"""What the store promises of planned moments: the ports Schedules and Timetables."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.case import Closed, Planned
from receiver.domain.outcome import Mode, Outcome
from receiver.domain.plan import Plan
from receiver.domain.timetable import Fate, Moment, Scheduled
from receiver.errors import Conflict, Refused
from receiver.identity import new_id
from tests.fix_stores import NOW, Stores

pytestmark = pytest.mark.anyio
COMMIT = "c" * 40
_BEGUN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


def moment(minutes: float = 0, fate: Fate = "ran", name: str = "audit") -> Moment:
    at = _BEGUN + timedelta(minutes=minutes)
    return Moment(schedule=name, planned_at=at, due_at=at, fate=fate, by=f"policy:{name}@{COMMIT}", commit=COMMIT)


def planned(name: str = "audit") -> Planned:
    plan = Plan(action="playbook", playbook="host_audit", why="w")
    scheduled = Scheduled(schedule=name, commit=COMMIT, planned_at=NOW)
    return Planned(
        id=new_id(), opened_at=NOW, revision=COMMIT, mode=Mode.PROPOSE, entity=None, plan=plan, scheduled=scheduled
    )


async def test_a_moment_is_filed_once_with_all_its_cases(stores: Stores) -> None:
    one = moment()
    cases = [[planned(), planned()] for _ in range(6)]
    done = await asyncio.gather(*[stores.schedules.file(one, mine) for mine in cases])
    assert sorted(done) == [False] * 5 + [True]
    assert await stores.schedules.file(moment(1), [])
    assert await stores.schedules.file(one.model_copy(update={"schedule": "review"}), [])
    kept = cases[done.index(True)]
    page = await stores.schedules.moments("audit", limit=10, cursor=None)
    assert [row["planned_at"] for row in page.items] == [moment(1).planned_at, one.planned_at]
    assert [case["id"] for case in page.items[1]["cases"]] == [case.id for case in kept]
    lists = await stores.archive.cases(limit=50, cursor=None, filters={})
    assert {row["id"] for row in lists.items} == {case.id for case in kept}
    events = await stores.archive.events(kept[0].id, after=-1)
    assert [(event["kind"], event["actor"]) for event in events] == [("case.planned", one.by)]


async def test_what_cannot_be_opened_leaves_no_row(stores: Stores) -> None:
    case = planned()
    assert await stores.schedules.file(moment(), [case])
    assert not await stores.schedules.file(moment(), [planned()])
    assert len((await stores.archive.cases(limit=50, cursor=None, filters={})).items) == 1


async def test_a_new_schedule_begins_now_and_never_goes_back(stores: Stores) -> None:
    book = stores.schedules
    first = await book.since("audit", "0 2 * * * UTC")
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    assert await book.since("audit", "0 2 * * * UTC") == first
    await book.passed("audit", first + timedelta(seconds=5), None)
    await book.passed("audit", first - timedelta(hours=5), first + timedelta(hours=9))
    assert await book.since("audit", "0 2 * * * UTC") == first + timedelta(seconds=5)
    await stores.pass_seconds(3600)
    known = await book.since("audit", "0 2 * * * UTC")
    assert await book.since("audit", "0 3 * * * UTC") - known > timedelta(minutes=59)


async def test_a_mark_that_lies_ahead_is_void(stores: Stores) -> None:
    book = stores.schedules
    first = await book.since("audit", "r")
    ahead = moment(5 * 24 * 60)
    await book.file(ahead, [])
    await book.passed("audit", first + timedelta(days=5), None)
    assert abs(await book.since("audit", "r") - first) < timedelta(minutes=1)
    assert await book.file(ahead, [])


async def test_what_is_out_of_the_policy_is_forgotten(stores: Stores) -> None:
    book = stores.schedules
    for name in ("audit", "review"):
        await book.since(name, "r")
    await book.keep(["review", "other"])
    assert [row["name"] for row in await book.marks()] == ["review"]


async def test_a_mark_tells_the_last_and_the_next(stores: Stores) -> None:
    book = stores.schedules
    since = await book.since("audit", "r")
    await book.file(moment(1), [])
    await book.file(moment(2, "missed"), [])
    await book.passed("audit", since, since + timedelta(days=1))
    (row,) = await book.marks()
    assert (row["name"], row["last_fate"], row["next_at"]) == ("audit", "missed", since + timedelta(days=1))
    assert (row["last_at"], row["ran_at"]) == (moment(2).planned_at, moment(1).planned_at)


async def test_no_case_is_filed_beside_one_that_is_open(stores: Stores) -> None:
    """However many moments passed in between: what overlapped is no run."""
    book, case = stores.schedules, planned()
    await book.file(moment(), [case])
    for minute in range(1, 23):
        with pytest.raises(Conflict, match=case.id):
            await book.file(moment(minute), [planned()])
        assert await book.file(moment(minute, "overlap"), [])
    lease = await stores.claim()
    await stores.save(lease.case.end(Outcome.DIAGNOSED, "read").become(Closed), lease)
    assert await book.file(moment(30), [planned()])
    *_, row = (await book.moments(None, limit=50, cursor=None)).items
    assert [(one["state"], one["outcome"]) for one in row["cases"]] == [("closed", "diagnosed")]


async def test_two_who_ask_at_once_open_one(stores: Stores) -> None:
    said = await asyncio.gather(
        *(stores.schedules.file(moment(minute), [planned()]) for minute in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in said) == ["Conflict"] * 3 + ["bool"]


async def test_moments_come_in_pages(stores: Stores) -> None:
    for number in range(5):
        await stores.schedules.file(moment(number, "missed"), [])
    first = await stores.schedules.moments("audit", limit=2, cursor=None)
    rest = await stores.schedules.moments("audit", limit=10, cursor=first.next)
    assert [row["planned_at"] for row in (*first.items, *rest.items)] == [moment(n).planned_at for n in (4, 3, 2, 1, 0)]
    assert rest.next is None
    with pytest.raises(Refused):
        await stores.schedules.moments("audit", limit=2, cursor="x; --")
