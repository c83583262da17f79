"""`gitmedic run logs -f` beside a real store: from a run that still waits to its end, also as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.domain.run import RunEvent, RunResult
from tests.door import Door, proposed

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def line(seq: int, text: str) -> RunEvent:
    return RunEvent(seq=seq, at=NOW, kind="ok", host="web1", task="do it", text=text)


async def started(door: Door, database: str, *arguments: str) -> asyncio.subprocess.Process:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    env["GITMEDIC_DATABASE__URL"] = "postgresql:///?" + "&".join(database.split(" "))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "receiver", "run", "logs", *arguments,
        "--data-dir", str(door.office.settings.data_dir),
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.anyio
async def test_it_follows_from_the_queue_to_the_end(door: Door, database: str) -> None:
    case = await proposed(door)
    run, runs = case.runfile.run, door.office.store.runs
    process = await started(door, database, run, "-f", "--json")
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(120):
        first = json.loads(await process.stdout.readline())
        assert first["kind"] == "play"  # of the dry run
        assert b"is proposed" in await process.stderr.readline()  # what it waits for, on standard error
        attempt = await runs.begin(run, case.id, "run", "test")
        found = []
        for number in range(3):
            await runs.record(attempt, [line(number, f"line {number}")])
            found.append(json.loads(await process.stdout.readline()))
        assert process.returncode is None
        await runs.record(attempt, [line(3, "the last")])
        await runs.finish(attempt, RunResult(status="successful", started_at=NOW, ended_at=NOW))
        rest, errors = await process.communicate()
    found += [json.loads(row) for row in rest.splitlines()]
    assert [one["text"] for one in found] == ["line 0", "line 1", "line 2", "the last"]
    assert {one["attempt"] for one in found} == {attempt} and process.returncode == 0, errors


@pytest.mark.anyio
async def test_without_following_it_ends_and_says_what_is_to_come(door: Door, database: str) -> None:
    case = await proposed(door)
    async with door.office.store.pool.connection() as connection:
        await connection.execute("DELETE FROM run_events")
        await connection.execute("DELETE FROM attempts")
    process = await started(door, database, case.runfile.run)
    out, errors = await asyncio.wait_for(process.communicate(), 120)
    assert (out, process.returncode) == (b"", 0) and b"is proposed: needs you" in errors
    process = await started(door, database, "019ac0de-0000-7000-8000-000000000002", "-f")
    out, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 2 and b"there is none" in errors
