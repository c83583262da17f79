"""A model server on loopback that says what a test tells it, in the bytes of the real APIs."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Request"], "Said"]


@dataclass
class Request:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def is_claude(self) -> bool:
        return self.path.endswith("/messages")

    @property
    def key(self) -> str:
        """Whichever way a client says it."""
        keys = {self.headers.get("x-api-key"), self.headers.get("api-key"), self.headers.get("authorization", "")[7:]}
        (found,) = keys - {None, ""}
        return str(found)

    @property
    def text(self) -> str:
        """Everything that was sent, in order."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass
class Said:
    """One answer: raw pieces, and the seconds before each."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    pause: float = 0.0
    pieces: int = 1
    headers: dict[str, str] = field(default_factory=dict)


def said(
    text: str, *, cut: bool = False, refusal: str | None = None, tokens: tuple[int, int, int] = (900, 0, 200)
) -> Script:
    """A text as the API of the request frames it; tokens are sent, of these cached, and come back."""

    def frame(request: Request) -> Said:
        sent, cached, back = tokens
        if request.is_claude:
            return Said(json.dumps({
                "id": "msg_1", "type": "message", "role": "assistant", "model": request.body["model"],
                "content": [{"type": "text", "text": text}] if text else [],
                "stop_reason": "refusal" if refusal else "max_tokens" if cut else "end_turn", "stop_sequence": None,
                **({"stop_details": {"type": "refusal", "category": refusal, "explanation": None}} if refusal else {}),
                "usage": {"input_tokens": sent - cached, "output_tokens": back, "cache_read_input_tokens": cached,
                          "cache_creation_input_tokens": 0},
            }).encode())  # fmt: skip
        return Said(json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000, "model": request.body["model"],
            "choices": [{
                "index": 0, "finish_reason": "length" if cut else "stop", "logprobs": None,
                "message": {"role": "assistant", "content": None if refusal else text, "refusal": refusal},
            }],
            "usage": {"prompt_tokens": sent, "completion_tokens": back, "total_tokens": sent + back,
                      "prompt_tokens_details": {"cached_tokens": cached}},
        }).encode())  # fmt: skip

    return frame


def answer(**fields: Any) -> Script:
    """An object as the whole text."""
    return said(json.dumps(fields))


def error(status: int, kind: str = "api_error") -> Script:
    """As both APIs frame an error."""

    def frame(request: Request) -> Said:
        told = {"type": kind, "message": "no: sk-secret-0123", "code": kind}
        body = {"type": "error", "error": told} if request.is_claude else {"error": told}
        return Said(json.dumps(body).encode(), status=status, headers={"retry-after": "60"})

    return frame


def raw(body: bytes, *, status: int = 200, content_type: str = "application/json") -> Script:
    return lambda request: Said(body, status=status, content_type=content_type)


def hang(request: Request) -> Said:
    return Said(b"{}", pause=3600)


def drip(request: Request) -> Said:
    """A good answer, byte by byte, for ever."""
    whole = said("x" * 5000)(request)
    return Said(whole.body, pieces=len(whole.body), pause=0.05)


class Server:
    """Answers by its scripts, one after the other; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[Request] = []
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                await _write(writer, script(request))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on a port of loopback."""
    made = Server(*scripts)
    made.scheme = "https" if tls else "http"
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await made.serve(reader, writer)
        tasks.discard(task)

    listening = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    first = await reader.readline()
    if not first:
        return None
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.decode().split(" ")[1].partition("?")[0], headers, json.loads(body or b"{}"))


async def _write(writer: asyncio.StreamWriter, answer: Said) -> None:
    head = (
        f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.content_type}\r\ncontent-length: {len(answer.body)}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    step = max(len(answer.body) // answer.pieces, 1)
    if answer.pieces == 1:
        await asyncio.sleep(answer.pause)
    writer.write(f"{head}\r\n".encode())
    for start in range(0, len(answer.body), step):
        if answer.pieces > 1:
            await asyncio.sleep(answer.pause)
        writer.write(answer.body[start : start + step])
        await writer.drain()
    await writer.drain()
