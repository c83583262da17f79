"""The doors of a run's own directory that lead out: one to its agent, one to the approved hosts, each a unix socket.

The gate decides where a run without a network may connect: to the addresses and ports of its approved hosts. Bytes are
carried; the connection itself is never handed in, for whoever holds a socket could connect it anew to anywhere. Refuses
every other place in words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Lead = Callable[[asyncio.StreamReader], Awaitable[Pair]]
_PROXY = """    ProxyCommand {python} -I -S {knock} {socket} %h %p
    ProxyUseFdpass yes
"""
_CONNECT_SECONDS = 10
_CHUNK = 65536


@asynccontextmanager
async def network_gate(scratch: Path, seen_as: Path, allowed: frozenset[tuple[str, int]]) -> AsyncIterator[None]:
    """While it is open, ssh in the run reaches these hosts, and nothing reaches anything else."""

    async def lead(asked: asyncio.StreamReader) -> Pair:
        words = (await asked.readline()).decode("ascii", "replace").split()
        place = (words[0], int(words[1])) if len(words) == 2 and words[1].isdigit() else ("", 0)
        if place not in allowed:
            raise PermissionError(f"{' '.join(words)[:100]} is none of this run's hosts")
        try:
            return await asyncio.wait_for(asyncio.open_connection(*place), _CONNECT_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{place[0]} port {place[1]} does not answer within {_CONNECT_SECONDS} s") from None

    config = scratch / "ssh_config"
    knock = Path(__file__).with_name("knock.py")
    lines = _PROXY.format(python=sys.executable, knock=knock, socket=seen_as / "gate" / "sock")
    config.write_text(config.read_text() + lines)
    async with _door(scratch / "gate", lead, answers=True):
        yield


@asynccontextmanager
async def agent_door(folder: Path, agent: Path, uid: int | None) -> AsyncIterator[None]:
    """The run's agent once more in `folder`, for a run of another uid: an agent speaks to its own only."""

    async def lead(_asked: asyncio.StreamReader) -> Pair:
        return await asyncio.open_unix_connection(str(agent / "sock"))

    async with _door(folder, lead, answers=False, uid=uid):
        yield


@asynccontextmanager
async def _door(folder: Path, lead: Lead, *, answers: bool, uid: int | None = None) -> AsyncIterator[None]:
    folder.mkdir(mode=0o700)
    held = os.open(folder, os.O_PATH)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"/proc/self/fd/{held}/sock")  # a socket's path may have 107 bytes
    os.close(held)
    if uid is not None:
        for path in (folder, folder / "sock"):
            os.chown(path, uid, uid)

    inside: set[asyncio.Task[None] | None] = set()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside.add(asyncio.current_task())
        with contextlib.closing(writer):
            try:
                other, there = await lead(reader)
            except (OSError, TimeoutError, ValueError) as error:
                log.warning("run.gate_refused", error=str(error))
                if answers:
                    # an empty line says that the way is open
                    writer.write(f"{str(error) or type(error).__name__}\n".encode())
                return
            with contextlib.closing(there):
                if answers:
                    writer.write(b"\n")
                await asyncio.gather(_carry(reader, there), _carry(other, writer), return_exceptions=True)

    server = await asyncio.start_unix_server(enter, sock=listening)
    try:
        yield
    finally:
        server.close()
        # whoever is still inside goes with the door
        left = [task for task in inside if task is not None and not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side says no more; then the other is told so."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
