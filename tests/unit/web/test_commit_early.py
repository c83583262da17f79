"""Group commit, ahead of the database: what is read early, and that a stop leaves nobody waiting."""

import asyncio
from collections.abc import Sequence

import pytest

from receiver.errors import Unavailable
from receiver.ports import Post, Receipt
from receiver.web.hooks import commit
from receiver.web.hooks.commit import GroupCommit

pytestmark = pytest.mark.anyio


class SlowInbox:
    """Stores nothing until it is told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = asyncio.Event()

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        self.batches.append(len(posts))
        await self.go.wait()
        return [Receipt(alerts=1, new=1, unreadable=0) for _ in posts]


def post(size: int = 100) -> Post:
    return Post(source="prom", body=b"x" * size, token="")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_arrives_during_a_commit_shares_the_next() -> None:
    inbox = SlowInbox()
    writer = GroupCommit(inbox)
    running = asyncio.create_task(writer.run())
    asked = [asyncio.create_task(writer.store(post()))]
    await settle()
    asked += [asyncio.create_task(writer.store(post())) for _ in range(5)]
    await settle()
    assert inbox.batches == [1]
    inbox.go.set()
    assert len(await asyncio.gather(*asked)) == 6
    assert inbox.batches == [1, 5]
    running.cancel()


async def test_more_than_one_commits_worth_is_begun_early_and_never_a_third() -> None:
    inbox = SlowInbox()
    writer = GroupCommit(inbox)
    running = asyncio.create_task(writer.run())
    large = commit.MOST_BYTES // 2
    asked = [asyncio.create_task(writer.store(post(large))) for _ in range(8)]
    await settle()
    assert inbox.batches == [2, 2]
    inbox.go.set()
    await asyncio.gather(*asked)
    assert sum(inbox.batches) == 8
    running.cancel()


@pytest.mark.parametrize("turns", range(1, 7))
async def test_a_stop_at_any_moment_tells_everybody(turns: int) -> None:
    writer = GroupCommit(SlowInbox())
    running = asyncio.create_task(writer.run())
    asked = [asyncio.create_task(writer.store(post(commit.MOST_BYTES))) for _ in range(4)]
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in ended)
