"""Webhook deliveries in PostgreSQL: who listens hears of them, who pushed is found, the old ones go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.deliveries import CHANNEL, PostgresDeliveries
from receiver.domain.delivery import Delivery

pytestmark = pytest.mark.anyio
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def delivery(id: str) -> Delivery:
    return Delivery(
        forge="gitlab", repository="42", id=id, event="push", ref="refs/heads/x", after_sha="a" * 40, pusher="7"
    )


async def test_whoever_polls_is_told_once(database: str, pool: AsyncConnectionPool[Any]) -> None:
    deliveries = PostgresDeliveries(pool)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")  # type: ignore[arg-type]
        for id in ("one", "one", "two"):
            await deliveries.take(delivery(id))
        told = [one.payload async for one in connection.notifies(timeout=5, stop_after=2)]
        assert told == ["42", "42"]
        assert [one async for one in connection.notifies(timeout=0.2)] == []


async def test_old_ones_are_forgotten(pool: AsyncConnectionPool[Any]) -> None:
    deliveries = PostgresDeliveries(pool)
    for id in ("old", "young"):
        await deliveries.take(delivery(id))
    async with pool.connection() as connection:
        moment = datetime.now(UTC) - timedelta(days=91)
        await connection.execute("UPDATE forge_deliveries SET received_at = %s WHERE id = 'old'", (moment,))
    await deliveries.sweep()
    assert [one.id for one in await deliveries.since("gitlab", "42", BEGINNING)] == ["young"]
