"""Runs the application: httptools and uvloop, one process, a clean end on SIGTERM.

Refuses a port that somebody else has, naming the setting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from receiver.errors import Refused


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, bound before anything else is begun."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio turns Nagle's delay off on what is accepted: without, answers wait 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Refused(
            f"listening on {host}:{port}: {error.strerror}",
            next_step="stop what has it, or give another address: --listen HOST:PORT",
            reason="listen",
        ) from error
    return listening


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop of the server: uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def run(app: FastAPI, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop`; open requests get ten seconds."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=75,
    )
    server = _Server(config)

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.create_task(end())
    try:
        await server.serve(sockets=[listening])
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)


class _Server(uvicorn.Server):
    """Signals belong to whoever set the stop event; uvicorn would raise them again when it has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """None of them."""
        yield
