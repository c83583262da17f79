"""Natural group commit over an inbox that a test holds back."""

import asyncio
from collections.abc import Sequence

import pytest

from receiver.errors import Unavailable
from receiver.ports import Post, Receipt
from receiver.web.hooks.commit import GroupCommit


class SlowInbox:
    """Commits when told to; fails when told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = asyncio.Event()
        self.fail = False

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        self.batches.append(len(posts))
        await self.go.wait()
        if self.fail:
            raise Unavailable("no disk")
        return [Receipt(alerts=1, new=1, unreadable=0) for _ in posts]


def post() -> Post:
    return Post(source="prom", body=b"{}")


@pytest.mark.anyio
async def test_what_arrives_during_a_commit_shares_the_next() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)
    writer = asyncio.create_task(commit.run())
    first = asyncio.create_task(commit.store(post()))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(commit.store(post())) for _ in range(9)]
    await asyncio.sleep(0.01)
    assert not first.done() and not any(other.done() for other in others)
    inbox.go.set()
    await asyncio.gather(first, *others)
    assert inbox.batches == [1, 9]
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


@pytest.mark.anyio
async def test_trouble_is_told_to_exactly_its_requests() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)
    writer = asyncio.create_task(commit.run())
    inbox.fail = True
    inbox.go.set()
    answers = await asyncio.gather(*[commit.store(post()) for _ in range(3)], return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    inbox.fail = False
    assert (await commit.store(post())).new == 1
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


@pytest.mark.anyio
async def test_what_waits_at_the_end_is_told_to_come_again() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)
    writer = asyncio.create_task(commit.run())
    waiting = [asyncio.create_task(commit.store(post())) for _ in range(2)]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(commit.store(post()))
    await asyncio.sleep(0.01)
    writer.cancel()
    answers = await asyncio.gather(*waiting, late, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    with pytest.raises(Unavailable):
        await commit.store(post())
    await asyncio.gather(writer, return_exceptions=True)


@pytest.mark.anyio
async def test_a_reader_who_hung_up_harms_nobody() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)
    writer = asyncio.create_task(commit.run())
    gone, stays = asyncio.create_task(commit.store(post())), asyncio.create_task(commit.store(post()))
    await asyncio.sleep(0.01)
    gone.cancel()
    inbox.go.set()
    assert (await stays).new == 1
    writer.cancel()
    await asyncio.gather(writer, gone, return_exceptions=True)
