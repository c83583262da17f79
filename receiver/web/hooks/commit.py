"""Natural group commit: while one commit is on its way, what arrives gathers; the next commit takes all of it.

No timer and no batch size to set: at low load a request is alone in its commit, at high load many share one. What
is more than one commit's worth is begun early: it is read while the database is busy with the one before. Each
request is answered after its own commit, and one commit's trouble is told to exactly its requests.
"""

from __future__ import annotations

import asyncio
import traceback

import structlog

from receiver.errors import Retry, Unavailable
from receiver.ports import Inbox, Post, Receipt

log = structlog.get_logger()
#: bounds of one commit: some hundred alerts, so that the next one can be read meanwhile; more gains nothing
MOST_POSTS = 512
MOST_BYTES = 256 << 10
#: bound of what waits for a commit; above it a sender is told to come again
MOST_WAITING_BYTES = 256 << 20


class GroupCommit:
    """One writer for all requests of this process."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._waiting: list[tuple[Post, asyncio.Future[Receipt]]] = []
        self._waiting_bytes = 0
        #: something arrived, or a commit has ended
        self._changed = asyncio.Event()
        self._closed = False
        self._trouble = ""

    async def store(self, post: Post) -> Receipt:
        """Durable when it returns; raises `Unavailable` when it is not stored."""
        if self._closed:
            raise Unavailable("the server is stopping")
        if self._waiting_bytes + len(post.body) > MOST_WAITING_BYTES:
            raise Unavailable("too much waits to be stored")
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((post, future))
        self._waiting_bytes += len(post.body)
        self._changed.set()
        return await future

    async def run(self) -> None:
        """Commit until cancelled; then what still waits is told to come again."""
        under_way: dict[asyncio.Task[None], list[tuple[Post, asyncio.Future[Receipt]]]] = {}

        def ended(task: asyncio.Task[None]) -> None:
            # also one that was cancelled before it began: nobody waits for ever
            _fail(under_way.pop(task), Unavailable("the server is stopping"))
            self._changed.set()

        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while self._waiting and len(under_way) < (2 if self._waiting_bytes > MOST_BYTES else 1):
                    batch = self._take()
                    task = asyncio.create_task(self._commit(batch))
                    under_way[task] = batch
                    task.add_done_callback(ended)
        finally:
            self._closed = True
            for task in list(under_way):
                task.cancel()
            _fail(self._waiting, Unavailable("the server is stopping"))
            await asyncio.gather(*under_way, return_exceptions=True)

    def _take(self) -> list[tuple[Post, asyncio.Future[Receipt]]]:
        size = count = 0
        for post, _ in self._waiting:
            size += len(post.body)
            if count and (count >= MOST_POSTS or size > MOST_BYTES):
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= sum(len(post.body) for post, _ in batch)
        return batch

    async def _commit(self, batch: list[tuple[Post, asyncio.Future[Receipt]]]) -> None:
        # whoever hung up meanwhile has no acknowledgement to lose; storing it is harmless
        try:
            receipts = await self._inbox.store([post for post, _ in batch])
            self._say("")
            for (_, future), receipt in zip(batch, receipts, strict=True):
                if not future.done():
                    future.set_result(receipt)
        except asyncio.CancelledError:
            _fail(batch, Unavailable("the server is stopping"))
            raise
        except Retry as error:
            self._say(error.message)
            _fail(batch, error)
        except Exception as error:
            await self._stumbled(batch, error)

    def _say(self, trouble: str) -> None:
        """Once per trouble, not once per request: a sender that is told to come again comes often."""
        if trouble and not self._trouble:
            log.warning("deliveries.not_stored", error=trouble, answered=503)
        elif self._trouble and not trouble:
            log.info("deliveries.stored_again")
        self._trouble = trouble

    async def _stumbled(self, batch: list[tuple[Post, asyncio.Future[Receipt]]], error: Exception) -> None:
        """A bug that one of them met: the writer lives on, and the others are committed without it."""
        log.error("storing deliveries", posts=len(batch), trace="".join(traceback.format_exception(error))[-4000:])
        if len(batch) == 1:
            # not stored, so never acknowledged: 503
            _fail(batch, Unavailable(f"storing a delivery: {type(error).__name__}"))
            return
        try:
            for one in batch:
                await self._commit([one])
        finally:
            _fail(batch, Unavailable("the server is stopping"))


def _fail(batch: list[tuple[Post, asyncio.Future[Receipt]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
