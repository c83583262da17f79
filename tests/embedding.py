"""An endpoint on loopback that speaks `POST /v1/embeddings`, and misbehaves as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from receiver.testing.memory import FakeEmbedder

Answer = Callable[["Endpoint", dict[str, Any]], Any]  #: bytes: a whole HTTP answer; None: none ever


@dataclass
class Endpoint:
    """What it was asked, and how it answers."""

    port: int = 0
    dims: int = 64
    answer: Answer = field(default=lambda self, asked: self.good(asked))
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def good(self, asked: dict[str, Any]) -> bytes:
        """As OpenAI does; the last entry comes first."""
        made = FakeEmbedder(self.dims)
        rows = [{"object": "embedding", "index": n, "embedding": made._vector(t)} for n, t in enumerate(asked["input"])]
        return http({"object": "list", "data": rows[::-1], "model": asked["model"]})

    def broken(self, asked: dict[str, Any]) -> bytes:
        """Down behind a proxy."""
        return http({"error": "bad gateway"}, 502)


def http(body: Any, status: int = 200) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """Served on a free port until the end of the block."""
    served = Endpoint()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = next(int(row[15:]) for row in head.split("\r\n") if row.lower().startswith("content-length:"))
                asked = json.loads(await reader.readexactly(length))
                served.requests.append(asked)
                served.heads.append(head)
                said = served.answer(served, asked)
                if said is None:
                    await asyncio.sleep(3600)
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
