"""Rule S19 with nothing in the place of anything: one run over three real hosts, each proved before the next.

Real PostgreSQL, git, Ansible, sshd and Prometheus; both roles are the worker that `up` starts, in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver import stepping
from receiver.domain.case import Proposed
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.steps import Step
from receiver.office import Office
from tests.fix_prometheus import Prometheus
from tests.machine import required
from tests.playbooks.several import NAMES, Lab, approved, asked, at_work, ended, until
from tests.targets.exporter import exporter
from tests.targets.network import network
from tests.targets.ssh import make_key, start_sshd

pytestmark = pytest.mark.anyio
SOON = 8.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Prometheus]]:
    """Three hosts, and a Prometheus that looks at them; this thread stands where they are."""
    for program in ("bwrap", "prometheus", "sshd"):
        required(program)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(Path(tempfile.mkdtemp(prefix="gm-several-", dir="/var/tmp"))))
        net.base.chmod(0o755)
        public = make_key(net.base)[1]
        lab = Lab(net, {name: start_sshd(net, name, public) for name in NAMES})
        stack.enter_context(net.entered())
        port = stack.enter_context(exporter(lab.page))
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
        prometheus.targets = [{"job_name": "lab", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
        stack.callback(prometheus.stop)
        prometheus.start()
        yield lab, prometheus


@pytest.fixture
def lab(watched: tuple[Lab, Prometheus]) -> Lab:
    watched[0].afresh()
    return watched[0]


@pytest.fixture
def prometheus(watched: tuple[Lab, Prometheus]) -> Prometheus:
    return watched[1]


@pytest.fixture
async def office(
    lab: Lab, prometheus: Prometheus, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    # not below pytest's folder: what confines a run is another user, who must be able to enter
    place = Path(tempfile.mkdtemp(prefix="gm-several-", dir="/var/tmp"))
    place.chmod(0o711)
    async with at_work(lab, place / "data", database, prometheus.url, monkeypatch) as opened:
        yield opened
    shutil.rmtree(place, ignore_errors=True)


async def steps(office: Office, case: Proposed) -> tuple[Step, ...]:
    return await office.store.runs.steps(case.runfile.run)


async def done(office: Office, case: Proposed, number: int) -> datetime | None:
    """When this step ended."""
    walked = await steps(office, case)
    result = walked[number].result if len(walked) > number else None
    return result.ended_at if result else None


async def seen_since(prometheus: Prometheus, name: str, moment: datetime) -> bool:
    found = await asyncio.to_thread(prometheus.query, f'timestamp(host_marked{{host="{name}"}})')
    return bool(found) and float(found[0]["value"][1]) > moment.timestamp() + 1


async def test_each_host_is_changed_and_proved_before_the_next(
    lab: Lab, prometheus: Prometheus, office: Office
) -> None:
    lab.lies["h1"] = 0
    case = await asked(office, NAMES)
    end_of_first = await until(lambda: done(office, case, 0))
    assert lab.is_marked("h1")
    await until(lambda: seen_since(prometheus, "h1", end_of_first))
    assert not lab.began("h2") and len(await steps(office, case)) == 1
    told, _ = datetime.now(UTC), lab.lies.clear()
    end = await ended(office, case.id)
    assert end.outcome is Outcome.FIXED, end.why
    one, two, three = await steps(office, case)
    assert [one.hosts, two.hosts, three.hosts] == [("h1",), ("h2",), ("h3",)]
    assert one.result and two.result
    assert two.begun_at > told and three.begun_at > two.result.ended_at
    assert all(lab.is_marked(name) for name in NAMES)
    assert end.result is not None and end.verification is not None
    assert {name: (stats.changed, stats.failures) for name, stats in end.result.stats.items()} == dict.fromkeys(
        NAMES, (2, 0)
    )
    assert [(check.id, check.verdict) for check in end.verification.checks] == [("marked", Verdict.RESOLVED)] * 3
    assert await office.store.locks.all() == []


async def test_a_host_that_fails_is_the_last_and_the_rest_is_asked_for_again(lab: Lab, office: Office) -> None:
    lab.lock_out("h2")
    case = await asked(office, NAMES)
    end = await ended(office, case.id)
    assert end.outcome is Outcome.FAILED and end.result is not None
    assert "stopped at h2: h2: Put the mark:" in end.why, end.why
    assert end.why.endswith("done: h1; not touched: h3")
    assert lab.is_marked("h1") and not lab.is_marked("h2") and lab.began("h2") and not lab.began("h3")
    assert set(end.result.stats) == {"h1", "h2"} and end.result.stats["h2"].failures == 1
    assert await office.store.locks.all() == []
    first = (lab.place("h1") / "began").stat().st_mtime_ns
    lab.let_in("h2")
    again = await office.aftermath.retry(case.runfile.run, actor=case.requested_by, reason="the folder is ours again")
    end = await ended(office, (await approved(office, again)).id)
    assert end.outcome is Outcome.FIXED and end.result and set(end.result.stats) == {"h2", "h3"}, end.why
    assert (lab.place("h1") / "began").stat().st_mtime_ns == first


async def test_a_host_that_is_not_proved_is_the_last(lab: Lab, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "PROVE_SECONDS", SOON)
    lab.lies["h2"] = 0
    case = await asked(office, NAMES)
    end = await ended(office, case.id)
    assert end.outcome is Outcome.FAILED, end.why
    assert f"stopped at h2: not proved in {SOON:.0f} s" in end.why and end.why.endswith(
        "done: h1; changed, and not proved: h2; not touched: h3"
    )
    assert lab.is_marked("h2") and not lab.began("h3")


async def test_a_link_that_goes_down_in_the_middle(lab: Lab, office: Office) -> None:
    lab.hold("h2")
    case = await asked(office, NAMES)

    async def is_there() -> bool:
        return lab.began("h2")

    await until(is_there)
    lab.net.link("h2", "down")
    try:
        end = await ended(office, case.id)
    finally:
        lab.net.link("h2", "up")
    assert end.outcome is Outcome.FAILED and end.result is not None, end.why
    assert "stopped at h2: nothing answers where h2 should be" in end.why, end.why
    assert end.why.endswith("done: h1; not touched: h3")
    assert end.result.stats["h2"].unreachable == 1 and "h3" not in end.result.stats
    assert lab.is_marked("h1") and not lab.is_marked("h2") and not lab.began("h3")
    assert await office.store.locks.all() == []
