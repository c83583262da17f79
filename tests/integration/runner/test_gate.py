"""The gate of a run without a network: it leads to approved hosts and nowhere else, and carries bytes both ways."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.adapters.runner import gate, knock
from receiver.adapters.runner.gate import agent_door, network_gate

pytestmark = pytest.mark.anyio


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def ask(door: Path, line: str, said: bytes = b"") -> tuple[str, bytes]:
    """The gate's answer, and what came back of what was said."""
    reader, writer = await asyncio.open_unix_connection(str(door))
    writer.write(f"{line}\n".encode())
    answer = (await asyncio.wait_for(reader.readline(), 10)).decode().strip()
    if not answer:
        writer.write(said)
    writer.write_eof()
    back = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer, back


async def test_the_gate_leads_to_the_approved_hosts_only(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("Host *\n")
    one, other = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(2)]
    port, shut = (server.sockets[0].getsockname()[1] for server in (one, other))
    async with network_gate(tmp_path, tmp_path, frozenset({("127.0.0.1", port)})):
        door = tmp_path / "gate" / "sock"
        large = os.urandom(3 << 20)
        assert await ask(door, f"127.0.0.1 {port}", large) == ("", large)
        for line in (f"127.0.0.1 {shut}", f"localhost {port}", "", "x", f"127.0.0.1 {port} x", f"127.0.0.1 {port}x"):
            answer, back = await ask(door, line, b"hello")
            assert answer.endswith("is none of this run's hosts") and back == b""
    config = (tmp_path / "ssh_config").read_text()
    assert f"{tmp_path}/gate/sock %h %p" in config and "ProxyUseFdpass yes" in config
    one.close()
    other.close()


async def test_a_host_that_does_not_answer_is_said(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("Host *\n")
    async with network_gate(tmp_path, tmp_path, frozenset({("127.0.0.1", 1)})):
        answer, _ = await ask(tmp_path / "gate" / "sock", "127.0.0.1 1")
        assert "Connect call failed" in answer
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", knock.__file__, str(tmp_path / "gate" / "sock"), "127.0.0.1", "2"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1 and done.stderr == "127.0.0.1 2 is none of this run's hosts\n"


async def test_a_host_that_never_answers_is_no_open_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh_config").write_text("Host *\n")
    monkeypatch.setattr(gate, "_CONNECT_SECONDS", 0.2)

    async def never(*_place: object) -> None:
        await asyncio.Event().wait()

    async with network_gate(tmp_path, tmp_path, frozenset({("127.0.0.1", 1)})):
        monkeypatch.setattr(asyncio, "open_connection", never)
        said = asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", knock.__file__, str(tmp_path / "gate" / "sock"), "127.0.0.1", "1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        done = await asyncio.wait_for(said, 30)
    assert done.returncode == 1 and done.stderr == "127.0.0.1 port 1 does not answer within 0.2 s\n"


async def test_the_agents_door_carries_what_is_said(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    agent = await asyncio.start_unix_server(echo, str(tmp_path / "there" / "sock"))
    async with agent_door(tmp_path / "agent", tmp_path / "there", None):
        assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "agent" / "sock"))
        writer.write(b"who is there")
        assert await asyncio.wait_for(reader.readexactly(12), 10) == b"who is there"
        writer.close()
    agent.close()
    await asyncio.sleep(0.1)  # the other end hears of it
