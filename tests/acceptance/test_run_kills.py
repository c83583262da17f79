"""SIGKILL around a run under `gitmedic up`, with the lease that everybody has: it ends, and never runs twice (P3).

The points in between, and all who may be killed there, are in `test_kill_table.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from receiver.demo import cards, rig
from receiver.domain.case import Case, Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import Retry

#: the lease that a killed executor leaves behind runs for 30 s
SECONDS = 150.0


@contextlib.asynccontextmanager
async def demo() -> AsyncIterator[rig.Rig]:
    """On the probe: nothing here depends on Prometheus."""
    async with rig.running(simulated=True, say=lambda text: None) as running:
        yield running
    shutil.rmtree(running.place, ignore_errors=True)  # kept when the test fails: its logs say why


def processes(*words: str) -> list[int]:
    """Pids whose command line has all these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if all(word.encode() in command for word in words):
                    found.append(int(entry.name))
    return found


def child_of(running: rig.Rig, role: str) -> list[int]:
    """A child of this rig's `up`: they know its data directory by their environment."""
    found = []
    for pid in processes("receiver", "work", role):
        with contextlib.suppress(OSError):
            if str(running.settings.data_dir).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def child_of_run(running: rig.Rig) -> list[int]:
    """The sandbox of this rig's run: its command line names the run's directory."""
    return processes("receiver.adapters.runner.child", str(running.settings.data_dir))


async def until(done: Callable[[], Awaitable[object]]) -> object:
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(Retry, psycopg.Error):  # the database itself may be the victim
                if found := await done():
                    return found
            await asyncio.sleep(0.01)


async def case_of(running: rig.Rig) -> Case | None:
    page = await running.office.store.archive.cases(limit=1, cursor=None, filters={"alertname": "DemoQueueStuck"})
    return await running.office.store.archive.stored(page.items[0]["id"]) if page.items else None


async def proposed(running: rig.Rig) -> Proposed:
    cards.jam_queue(running.place)

    async def is_proposed() -> Proposed | None:
        found = await case_of(running)
        return found if isinstance(found, Proposed) else None

    found = await until(is_proposed)
    assert isinstance(found, Proposed)
    return found


async def ended(running: rig.Rig) -> Closed:
    async def is_closed() -> Closed | None:
        found = await case_of(running)
        return found if isinstance(found, Closed) else None

    found = await until(is_closed)
    assert isinstance(found, Closed)
    return found


async def attempts(running: rig.Rig, run: str) -> int:
    async with running.office.store.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM attempts WHERE run = %s AND mode = 'run'", (run,))
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def postmaster(running: rig.Rig) -> list[int]:
    """Of this rig's PostgreSQL."""
    return [int((running.settings.data_dir / "postgres/postmaster.pid").read_text().split("\n")[0])]


POINTS = {
    #: name: (who is killed, how it may end)
    "executor while the run runs": ("execute", {Outcome.INTERRUPTED, Outcome.NOT_FIXED}),
    #: what the child reports outlives the database's absence
    "database while the run runs": ("postgres", {Outcome.NOT_FIXED}),
}


@pytest.mark.anyio
@pytest.mark.parametrize("point", list(POINTS))
async def test_a_kill_around_a_run(point: str) -> None:
    who, outcomes = POINTS[point]
    async with demo() as running:
        case = await proposed(running)
        run = case.runfile.run
        await cards.approve(running, case)

        async def runs() -> bool:
            return bool(await attempts(running, run) and child_of_run(running))

        await until(runs)
        victims = postmaster(running) if who == "postgres" else child_of(running, who)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        closed = await ended(running)
        assert closed.outcome in outcomes, (closed.outcome, closed.why)
        assert await attempts(running, run) <= 1
        if closed.outcome is Outcome.INTERRUPTED:
            assert "not known" in closed.why or "executor died" in closed.why
        assert await running.office.store.locks.all() == []
        found = await running.office.store.runs.attempt_of(run, "run")
        assert found is None or found[1] is not None, "no run is left without an end"
