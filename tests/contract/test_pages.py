"""What the store promises to whoever shows something: Logs, Pulse, and the Archive's things."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from receiver.domain.outcome import Outcome
from receiver.domain.run import RunEvent
from receiver.identity import new_id
from receiver.ports import Event, Lines
from tests.fix_stores import NOW, Stores, post

pytestmark = pytest.mark.anyio


def line(seq: int, kind: str = "ok", host: str = "web1") -> RunEvent:
    return RunEvent(seq=seq, at=NOW, kind=kind, host=host, task="do it")


# --- Logs


async def test_the_last_lines_and_the_first_ones(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    attempt = await stores.runs.begin(run, case.id, "check", "i")
    await stores.runs.record(attempt, [line(n) for n in range(5)])
    assert [one["seq"] for one in await stores.logs.run_log(run, limit=2)] == [0, 1]
    assert [one["seq"] for one in await stores.logs.run_log(run, limit=2, tail=True)] == [3, 4]
    assert [one["seq"] for one in await stores.logs.run_log(run, after=3, limit=9, tail=True)] == [4]
    assert {one["attempt"] for one in await stores.logs.run_log(run)} == {attempt}


async def test_a_new_attempt_is_another_log(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    await stores.runs.record(await stores.runs.begin(run, case.id, "check", "i"), [line(0), line(1)])
    real = await stores.runs.begin(run, case.id, "run", "i")
    assert await stores.logs.run_log(run) == [] and await stores.logs.run_tally(run) == []
    await stores.runs.record(real, [line(0)])
    assert [(one["attempt"], one["seq"]) for one in await stores.logs.run_log(run)] == [(real, 0)]


async def test_counts_by_host_and_kind(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    lines = [line(0, "play", ""), line(1), line(2), line(3, "changed"), line(4, "failed", "web2")]
    await stores.runs.record(attempt, lines)
    assert [(one["host"], one["kind"], one["number"]) for one in await stores.logs.run_tally(run)] == [
        ("web1", "changed", 1), ("web1", "ok", 2), ("web2", "failed", 1),
    ]  # fmt: skip


# --- Pulse


async def test_who_watches_a_case_is_told_of_it_and_of_no_other(stores: Stores) -> None:
    case, other = await stores.open(), await stores.open()
    with stores.pulse.watch(case.id) as mine, stores.pulse.watch(other.id) as theirs, stores.pulse.watch(None) as every:
        await asyncio.sleep(0.5)  # until it listens
        for event in (mine, theirs, every):
            event.clear()
        await stores.desk.note(case.id, Event(kind="case.note", actor="user:anna", text="x"))
        await asyncio.wait_for(asyncio.gather(mine.wait(), every.wait()), 4)
        assert not theirs.is_set()
        mine.clear()
        attempt = await stores.runs.begin(new_id(), case.id, "check", "i")
        await stores.runs.record(attempt, [line(0)])
        await asyncio.wait_for(mine.wait(), 4)


# --- Archive


async def test_one_row_for_each_thing(stores: Stores) -> None:
    assert await stores.archive.entities() == []
    case = await stores.open()
    lease = await stores.claim()
    entity = {"kind": "host", "name": "web1", "host": "web1", "site": "home"}
    await stores.save(type(lease.case).model_validate({**case.model_dump(), "entity": entity}), lease)
    (row,) = await stores.archive.entities()
    assert (row["name"], row["open"], row["case"], row["state"]) == ("web1", 1, case.id, "planned")
    assert (row["outcome"], row["taken_at"]) == (None, None)
    assert await stores.close() == case.id
    (row,) = await stores.archive.entities()
    assert (row["open"], row["state"], row["outcome"]) == (0, "closed", "notified")


async def test_alerts_of_one_why_are_those_that_say_it(stores: Stores) -> None:
    for name in ("A", "B", "C"):
        await stores.inbox.store([post(name)])
        await stores.close(Outcome.REJECTED if name == "B" else Outcome.NOTIFIED)
    await stores.inbox.store([post("A", starts_at=NOW + timedelta(seconds=9))])
    await stores.inbox.store([post("A", starts_at=NOW + timedelta(seconds=10)), post("Watchdog")])
    await stores.cases.open_stored()
    await stores.inbox.store([post("D")])  # still waits for its case
    every = [(row["number"], row["why"], row["labels"]["alertname"]) for row in await walked(stores)]
    assert {why for _, why, _ in every} == {"open", "duplicate", "benign", "rejected", "notified"}
    for why in ("open", "duplicate", "benign", "rejected", "notified", "fixed"):
        wanted = [number for number, said, _ in every if said == why]
        assert [row["number"] for row in await walked(stores, why=why)] == wanted, why
    both = await walked(stores, why="notified", alertname="A")
    assert [row["number"] for row in both] == [n for n, why, name in every if (why, name) == ("notified", "A")]


async def walked(stores: Stores, **filters: str) -> list[dict[str, Any]]:
    """All alerts, two a page."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await stores.archive.alerts(limit=2, cursor=cursor, filters=filters)
        rows += page.items
        cursor = page.next
        if cursor is None:
            return rows


async def test_lines_of_a_host_a_kind_a_word_and_an_attempt(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    old = await stores.runs.begin(run, case.id, "check", "i")
    await stores.runs.record(old, [line(0), line(1, "failed", "web2"), line(2, "ok", "web2")])

    async def seqs(**of: Any) -> list[int]:
        return [one["seq"] for one in await stores.logs.run_log(run, of=Lines(**of))]

    assert (await seqs(host="web2"), await seqs(kinds=("failed",)), await seqs(word="DO it")) == (
        [1, 2],
        [1],
        [0, 1, 2],
    )
    assert (await seqs(host="web2", kinds=("ok",)), await seqs(word="%")) == ([2], [])
    assert [one["seq"] for one in await stores.logs.run_log(run, tail=True, limit=1, of=Lines(host="web1"))] == [0]
    await stores.runs.record(await stores.runs.begin(run, case.id, "run", "i"), [line(0)])
    assert (await seqs(attempt=old), await seqs()) == ([0, 1, 2], [0])


async def test_the_case_of_a_run_is_known(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    assert await stores.logs.run_case(run) is None
    await stores.runs.begin(run, case.id, "check", "i")
    found = await stores.logs.run_case(run)
    assert found is not None and (found["id"], found["state"], found["is_open"]) == (case.id, "planned", True)
