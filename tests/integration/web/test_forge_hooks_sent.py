"""Webhooks that the doubles of forges really send, through the real front door: lost, doubled, in another order."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from receiver.adapters.store.deliveries import PostgresDeliveries
from receiver.web.parts import Hooked
from tests.contract.places import ELSEWHERE, RUN, Elsewhere, elsewhere
from tests.door import Door, serving

pytestmark = pytest.mark.anyio
SECRET = "s3cret-of-the-hook"
SIGNING = "whsec_" + base64.b64encode(b"k" * 32).decode()
WAYS = [(name, SECRET) for name in ELSEWHERE] + [("gitlab", SIGNING)]


class Sending:
    """A forge whose webhook leads to the door."""

    def __init__(self, far: Elsewhere, door: Door, counted: Counter[str]) -> None:
        self.far, self.door, self.counted = far, door, counted

    async def all_there(self) -> list[dict[str, Any]]:
        """What the door kept, once the forge has sent everything."""
        courier, before = self.far.server.courier, -1
        for _ in range(100):
            await asyncio.sleep(0.2)
            if before == len(courier.sent) > 0:
                break
            before = len(courier.sent)
        assert {one.status for one in courier.sent} <= {200, 202}, [one.status for one in courier.sent]
        return await self.door.rows("SELECT * FROM forge_deliveries ORDER BY received_at, id")


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-{'signing' if way[1] == SIGNING else 'secret'}")
async def sending(request: pytest.FixtureRequest, ops: object, database: str, door: Door) -> AsyncIterator[Sending]:
    name, secret = request.param
    async with AsyncExitStack() as stack:
        far = await elsewhere(name)(request, stack)
        assert isinstance(far, Elsewhere)
        counted: Counter[str] = Counter()
        hooked = Hooked(
            kind=name, repository=str(far.repository.id), key=str(far.repository.id), secret=lambda: secret,
            deliveries=PostgresDeliveries(door.office.store.pool), counted=lambda done: counted.update([done]),
        )  # fmt: skip
        url, _, _ = await stack.enter_async_context(serving(door, hooked=(hooked,)))
        bot = far.user("gitmedic-bot")
        far.repository.rights[bot.id] = "admin"
        await far.forge.dialect.make_hook(f"{url}/hooks/{name}/{far.repository.id}", secret)
        far.repository.rights[bot.id] = "write"
        await asyncio.sleep(0.3)
        far.server.courier.sent.clear()  # GitHub greets a new webhook
        counted.clear()
        yield Sending(far, door, counted)


async def test_the_life_of_a_pull_request_is_heard(sending: Sending) -> None:
    far = sending.far
    number, _ = await far.open()
    head = await far.pushes("bob", number)
    await far.approves("ada", number)
    await far.merges("ada", number)
    rows = await sending.all_there()
    assert {row["repository"] for row in rows} == {str(far.repository.id)}
    assert {row["number"] for row in rows} == {None, number}
    assert len([row for row in rows if row["number"] == number]) >= 4
    pushed = {(row["ref"], row["after_sha"], row["pusher"]) for row in rows if row["after_sha"]}
    assert (f"refs/heads/gitmedic/{RUN}", head, str(far.user("bob").id)) in pushed
    assert ("refs/heads/main", await far.tip(), str(far.user("ada").id)) in pushed
    assert set(sending.counted) <= {"taken", "ignored"}


async def test_who_pushed_the_head_is_known_by_the_webhook(sending: Sending) -> None:
    far = sending.far
    number, _ = await far.open()
    await far.pushes("bob", number)
    await sending.all_there()
    pusher = (await far.forge.read(number)).pushed_by
    assert pusher is not None
    assert pusher.id == str(far.user("bob").id)


async def test_doubled_and_in_another_order(sending: Sending) -> None:
    courier = sending.far.server.courier
    courier.hold()
    courier.double(100)
    number, _ = await sending.far.open()
    await sending.far.pushes("bob", number)
    courier.release(reverse=True)
    rows = await sending.all_there()
    assert sending.counted["again"] == sending.counted["taken"] == len(rows) > 1
    assert len(courier.sent) == 2 * len(rows) + sending.counted["ignored"]


async def test_who_merged_is_not_who_pushed_though_the_commit_is_the_same(sending: Sending) -> None:
    far = sending.far
    number, head = await far.open()
    if far.state.name == "gitlab":
        await far.merges("ada", number, "fast-forward")
        assert await far.tip() == head
    else:
        await far.merges("ada", number)
    await sending.all_there()
    pusher = (await far.forge.read(number)).pushed_by
    assert pusher is not None
    assert pusher.id == str(far.user("gitmedic-bot").id)


async def test_lost_ones_are_nothing(sending: Sending) -> None:
    courier = sending.far.server.courier
    courier.lose(100)
    number, _ = await sending.far.open()
    assert courier.sent == []
    courier.lose(0)
    await sending.far.approves("ada", number)
    rows = await sending.all_there()
    assert {row["number"] for row in rows} <= {None, number}
