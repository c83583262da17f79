"""`resolved` also comes when the exporter dies: then nothing is closed and nothing is called fixed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from receiver.demo import cards, rig
from receiver.domain.case import Case, Closed, Proposed
from receiver.domain.outcome import Outcome
from tests.machine import required


@contextlib.asynccontextmanager
async def demo() -> AsyncIterator[rig.Rig]:
    required("prometheus")
    required("alertmanager")
    async with rig.running(simulated=False, say=lambda text: None) as running:
        yield running
    shutil.rmtree(running.place, ignore_errors=True)


async def until(running: rig.Rig, alertname: str, done: Callable[[Case, dict[str, Any]], Any]) -> Case:
    """The case of an alert, once it is as wanted."""
    async with asyncio.timeout(120):
        while True:
            page = await running.office.store.archive.cases(limit=1, cursor=None, filters={"alertname": alertname})
            if page.items:
                case = await running.office.store.archive.stored(page.items[0]["id"])
                if case is not None and done(case, page.items[0]):
                    return case
            await asyncio.sleep(0.1)


def exporter(running: rig.Rig) -> Any:
    (found,) = [one for one in running.processes if "receiver.demo.exporter" in one.args]  # type: ignore[operator]
    return found


@pytest.mark.anyio
async def test_an_exporter_that_dies_while_a_proposal_is_open_closes_nothing() -> None:
    async with demo() as running:
        cards.jam_queue(running.place)
        case = await until(running, "DemoQueueStuck", lambda case, row: isinstance(case, Proposed))
        exporter(running).kill()
        exporter(running).wait()

        def silent(case: Case, row: dict[str, Any]) -> bool:
            return "went silent: no data" in row["waiting"]

        assert isinstance(await until(running, "DemoQueueStuck", silent), Proposed)
        alerts = await running.office.store.archive.alerts(
            limit=9, cursor=None, filters={"alertname": "DemoQueueStuck"}
        )
        assert [alert["status"] for alert in alerts.items] == ["resolved"]  # Alertmanager said so
        assert isinstance(case, Proposed)
        assert (await running.office.forge.read(case.proposal.number)).state == "open"


@pytest.mark.anyio
async def test_an_exporter_that_dies_during_the_run_is_no_data() -> None:
    async with demo() as running:
        cards.jam_queue(running.place)
        case = await until(running, "DemoQueueStuck", lambda case, row: isinstance(case, Proposed))
        assert isinstance(case, Proposed)
        await cards.approve(running, case)
        async with asyncio.timeout(60):
            while await running.office.store.runs.attempt_of(case.runfile.run, "run") is None:
                await asyncio.sleep(0.02)
        exporter(running).kill()
        exporter(running).wait()
        ended = await until(running, "DemoQueueStuck", lambda case, row: isinstance(case, Closed))
        assert isinstance(ended, Closed)
        assert ended.outcome is Outcome.NO_DATA, ended.why
        assert ended.result is not None and ended.result.status == "successful"
