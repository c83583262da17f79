"""What the Purse promises: one budget a day for all, one a case, a row for every attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.purse import PostgresPurse
from receiver.domain.plan import Attempt
from receiver.errors import Unavailable
from receiver.ports import Purse
from receiver.testing.clock import FakeClock
from receiver.testing.purse import FakePurse

pytestmark = pytest.mark.anyio
Opened = tuple[Purse, Callable[[], Awaitable[None]]]


def attempt(cost: float, **more: Any) -> Attempt:
    return Attempt(
        tier="fast", model="claude-haiku-5-5", verdict="accepted", why="w", prompt="0123456789ab", requests=1,
        seconds=0.5, tokens_in=900, tokens_cached=100, tokens_out=200, cost_usd=cost, **more,
    )  # fmt: skip


@pytest.fixture(params=["postgres", "fake"])
async def opened(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Opened]:
    """A purse, and what lets a day go by."""
    if request.param == "fake":
        clock = FakeClock(datetime(2026, 11, 26, 12, tzinfo=UTC))

        async def pass_a_day() -> None:
            clock.pass_seconds(86_400)

        yield FakePurse(clock), pass_a_day
        return
    async with open_pool(database) as pool:

        async def age_a_day() -> None:
            async with pool.connection() as connection:
                await connection.execute("UPDATE plan_attempts SET at = at - interval '1 day'")

        yield PostgresPurse(pool), age_a_day


async def test_a_day_is_shared_and_a_case_is_not(opened: Opened) -> None:
    purse, _ = opened
    assert (await purse.spent("c1")).model_dump() == {"day": 0, "case": 0}
    await purse.book("c1", attempt(0.25))
    await purse.book("c2", attempt(0.5, reason="schema"))
    await purse.book("c1", attempt(0))
    spent = await purse.spent("c1")
    assert (spent.day, spent.case) == (0.75, 0.25)


async def test_yesterday_counts_for_the_case_only(opened: Opened) -> None:
    purse, pass_a_day = opened
    await purse.book("c1", attempt(0.25))
    await pass_a_day()
    spent = await purse.spent("c1")
    assert (spent.day, spent.case) == (0, 0.25)


async def test_a_sum_that_cannot_be_read_is_no_zero(database: str) -> None:
    async with open_pool(database) as pool:
        purse = PostgresPurse(pool)
    with pytest.raises(Unavailable):
        await purse.spent("c1")


async def test_every_attempt_is_a_row(database: str) -> None:
    async with open_pool(database) as pool:
        await PostgresPurse(pool).book("c1", attempt(0.25, reason="timeout"))
        async with pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT case_id, tier, model, verdict, reason, prompt, requests, tokens_in, tokens_cached,"
                    " tokens_out, cost_usd, at <= now() FROM plan_attempts"
                )
            ).fetchall()
    assert rows == [
        ("c1", "fast", "claude-haiku-5-5", "accepted", "timeout", "0123456789ab", 1, 900, 100, 200, 0.25, True)
    ]
