"""Stored alerts become cases: by whoever looks for work, once each, whatever happened in between."""

from __future__ import annotations

import asyncio
import random
import string
from datetime import timedelta

import pytest

from receiver.adapters.store.cases import PostgresCases
from receiver.adapters.store.inbox import PostgresInbox
from receiver.domain.case import Received
from receiver.domain.outcome import Role
from tests.integration.store.test_cases import NOW, Pool, post, rows

pytestmark = pytest.mark.anyio
STATES = "SELECT labels->>'alertname' AS name, case_id IS NOT NULL AS has_case, why FROM alerts ORDER BY name"


async def test_what_is_stored_waits_for_its_case_and_says_so(pool: Pool) -> None:
    await PostgresInbox(pool).store([post("A"), post("Watchdog")])
    assert [tuple(row.values()) for row in await rows(pool, STATES)] == [
        ("A", False, None), ("Watchdog", False, "benign"),
    ]  # fmt: skip
    assert await PostgresCases(pool).open_stored() == 1
    assert [tuple(row.values()) for row in await rows(pool, STATES)] == [
        ("A", True, None), ("Watchdog", False, "benign"),
    ]  # fmt: skip


async def test_a_case_begins_when_its_alert_came_and_fires_though_it_has_ended_since(pool: Pool) -> None:
    inbox, cases = PostgresInbox(pool), PostgresCases(pool)
    await inbox.store([post("A")])
    await inbox.store([post("A", status="resolved")])
    await cases.open_stored()
    lease = await cases.claim([Role.PLAN], "w")
    assert lease is not None and isinstance(lease.case, Received)
    assert lease.case.alert.status == "firing"
    joined = "alerts JOIN cases ON cases.id = alerts.case_id JOIN case_events USING (case_id)"
    (row,) = await rows(pool, f"SELECT received_at, opened_at, at FROM {joined}")
    assert row["received_at"] == row["opened_at"] == row["at"] == lease.case.opened_at


async def test_many_hands_open_each_case_once(pool: Pool) -> None:
    inbox, cases = PostgresInbox(pool), PostgresCases(pool)
    names = [f"A{number}" for number in range(1200)]
    await inbox.store([post(*names), post(*names, starts_at=NOW + timedelta(seconds=9))])

    async def hand() -> int:
        looked = 0
        for _ in range(8):
            looked += await cases.open_stored()
        return looked

    assert sum(await asyncio.gather(*[hand() for _ in range(4)])) >= 2400
    found = await rows(pool, "SELECT why, count(*) AS n, count(DISTINCT case_id) AS cases FROM alerts GROUP BY why")
    assert {row["why"]: (row["n"], row["cases"]) for row in found} == {None: (1200, 1200), "duplicate": (1200, 1200)}
    assert len(await rows(pool, "SELECT FROM cases")) == 1200


async def test_an_alert_that_cannot_be_read_back_holds_nobody_up(pool: Pool) -> None:
    inbox, cases = PostgresInbox(pool), PostgresCases(pool)
    await inbox.store([post("Odd"), post("A")])
    async with pool.connection() as connection:
        await connection.execute("UPDATE alerts SET labels = '{\"alertname\": 7}' WHERE labels->>'alertname' = 'Odd'")
    assert await cases.open_stored() == 2
    assert [tuple(row.values()) for row in await rows(pool, STATES)] == [("7", False, "unreadable"), ("A", True, None)]
    assert await cases.open_stored() == 0


async def test_an_alert_that_the_database_takes_as_no_case_holds_nobody_up(pool: Pool) -> None:
    inbox, cases = PostgresInbox(pool), PostgresCases(pool)
    # no index takes a name that is longer than a third of a page and cannot be packed
    long = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=4000))
    (receipt,) = await inbox.store([post("A", long, "B")])
    assert receipt.new == 3
    assert await cases.open_stored() == 3
    found = {row["name"]: (row["has_case"], row["why"]) for row in await rows(pool, STATES)}
    assert found == {"A": (True, None), "B": (True, None), long: (False, "unreadable")}
    assert await cases.open_stored() == 0
