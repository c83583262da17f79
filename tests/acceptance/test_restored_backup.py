"""Backups put back, with a real database and a real repository: what ran once does not run again (P3, S2).

The demo's fix that does not work leaves a note; each note is taken away when it was seen, so a second run would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.config import load
from receiver.demo import cards, rig
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome
from receiver.errors import GitmedicError
from receiver.office import Office, open_office
from tests.acceptance.test_run_kills import attempts, demo, ended, proposed, until
from tests.machine import free_port


class Site:
    """A demo whose `up` is stopped and started by the test."""

    def __init__(self, running: rig.Rig) -> None:
        self.running, self.data = running, running.settings.data_dir
        self._up = next(one for one in running.processes if "up" in one.args)  # type: ignore[operator]

    async def stop(self) -> None:
        self._up.terminate()
        await asyncio.to_thread(self._up.wait, 60)

    async def start(self) -> None:
        self._up = await begin(self.running, self.data)

    def notes(self) -> int:
        """How many runs have left their note since it was asked last."""
        note = self.running.place / "queue" / "looked-at"
        found = note.exists()
        note.unlink(missing_ok=True)
        return int(found)

    async def approved_but_waiting(self) -> tuple[str, str]:
        """A case that is approved and held by a pause, its run not begun; then everything is stopped."""
        case = await proposed(self.running)
        office = self.running.office
        await office.store.ledger.pause("a backup is made")
        await cards.approve(self.running, case)

        async def is_held() -> bool:
            found = (await office.store.archive.case(case.id)) or {}
            return found["state"] == "approved" and "paused" in (found["waiting"] or "")

        await until(is_held)
        await self.stop()
        return case.id, case.runfile.run


async def begin(running: rig.Rig, data: Path, *more: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "receiver", "up", "--data-dir", str(data), *more]
    rig._spawn(running.processes, argv, running.place / "up.log")
    listen = more[-1] if more else running.settings.web.listen
    settings = load(data, listen=listen, environment={})
    await rig._ready(settings, running.processes[-1], running.place / "up.log")
    return running.processes[-1]


async def go_on(office: Office) -> None:
    """The pause ends; just after a start the pool may still hold connections of the server before."""

    async def is_taken_back() -> bool:
        with contextlib.suppress(GitmedicError):
            await office.store.ledger.pause(None)
            return True
        return False

    await until(is_taken_back)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with demo() as running:
        yield Site(running)


@pytest.mark.anyio
async def test_a_database_put_back_finds_the_claim(site: Site) -> None:
    _, run = await site.approved_but_waiting()
    backup = site.running.place / "backup"
    subprocess.run(["cp", "-a", site.data / "postgres", backup], check=True)
    await site.start()
    await go_on(site.running.office)
    assert (await ended(site.running)).outcome is Outcome.NOT_FIXED
    assert site.notes() == 1
    await site.stop()
    shutil.rmtree(site.data / "postgres")
    backup.rename(site.data / "postgres")
    await site.start()
    assert await until(lambda: attempts_are(site, run, 0)), "the restored database knows of no run"
    await go_on(site.running.office)
    closed = await ended(site.running)
    assert (closed.outcome, closed.reason) == (Outcome.INTERRUPTED, "claim")
    assert site.notes() == 0, "it ran twice"


async def attempts_are(site: Site, run: str, count: int) -> bool:
    return await attempts(site.running, run) == count


@pytest.mark.anyio
@pytest.mark.parametrize("original", ["is gone", "goes on"])
async def test_a_directory_put_elsewhere_needs_a_fresh_approval(site: Site, original: str) -> None:
    case, run = await site.approved_but_waiting()
    copy = site.running.place / "copy"
    subprocess.run(["cp", "-a", site.data, copy], check=True)
    if original == "goes on":
        await site.start()
        await go_on(site.running.office)
        assert (await ended(site.running)).outcome is Outcome.NOT_FIXED
        assert site.notes() == 1
    listen = f"127.0.0.1:{free_port()}"
    await begin(site.running, copy, "--listen", listen)
    async with open_office(load(copy, listen=listen, environment={})) as office:
        await go_on(office)

        async def is_closed() -> Closed | None:
            found = await office.store.archive.stored(case)
            return found if isinstance(found, Closed) else None

        closed = await until(is_closed)
        assert isinstance(closed, Closed)
        assert (closed.outcome, closed.reason) == (Outcome.REFUSED, "fresh") and "approve again" in closed.why
        assert await office.store.runs.attempt_of(run, "run") is None
    assert site.notes() == 0, "it ran twice"
