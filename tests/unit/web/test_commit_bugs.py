"""Natural group commit when the inbox meets a bug of ours, and when more arrives than can wait."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from receiver.errors import GitmedicError, Unavailable
from receiver.ports import Post, Receipt
from receiver.web.hooks.commit import GroupCommit


class Stumbling:
    """An inbox with a bug that one body meets."""

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        await asyncio.sleep(0.01)
        if any(post.body == b"poison" for post in posts):
            raise RecursionError("a bug")
        return [Receipt(alerts=1, new=1, unreadable=0) for _ in posts]


@pytest.mark.anyio
async def test_a_bug_fails_no_neighbour_and_does_not_end_the_writer() -> None:
    commit = GroupCommit(Stumbling())
    writer = asyncio.create_task(commit.run())
    bodies = [b"first", *[b"good"] * 5, b"poison", *[b"good"] * 5]
    answers = await asyncio.gather(
        *[commit.store(Post(source="prom", body=body)) for body in bodies], return_exceptions=True
    )
    assert [isinstance(answer, GitmedicError) for answer in answers] == [body == b"poison" for body in bodies]
    assert (await commit.store(Post(source="prom", body=b"later"))).new == 1
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


class Full:
    """An inbox whose disk is full for a while."""

    is_full = True

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        if self.is_full:
            raise Unavailable("could not extend file: No space left on device")
        return [Receipt(alerts=1, new=1, unreadable=0) for _ in posts]


@pytest.mark.anyio
async def test_trouble_is_in_the_log_once_and_so_is_its_end() -> None:
    inbox = Full()
    commit = GroupCommit(inbox)
    writer = asyncio.create_task(commit.run())
    post = Post(source="prom", body=b"{}")
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await commit.store(post)
        inbox.is_full = False
        for _ in range(3):
            await commit.store(post)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert [line["event"] for line in logged] == ["deliveries.not_stored", "deliveries.stored_again"]
    assert "No space left" in logged[0]["error"]
