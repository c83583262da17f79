"""What every runner promises: it always answers, with the end that was, and hands its events on in order."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import RUNGS, Job, JobHost, RunEvent, RunResult
from receiver.errors import Unavailable
from receiver.identity import new_id
from receiver.ports import Runner
from receiver.testing.clock import FakeClock
from receiver.testing.outside import FakeRunner

pytestmark = pytest.mark.anyio
Status = Literal["successful", "failed", "cancelled", "timeout"]
TASKS: dict[Status, str] = {
    "successful": "ansible.builtin.copy: {dest: '{{ gm_path }}', content: hello, mode: '0600'}",
    "failed": "ansible.builtin.fail: {msg: the disk is gone}",
    "cancelled": "ansible.builtin.command: {argv: [sleep, '60']}",
    "timeout": "ansible.builtin.command: {argv: [sleep, '60']}",
}


class Place:
    """One runner, and what it was told and told."""

    def __init__(self, runner: Runner, base: Path) -> None:
        self.runner, self.base = runner, base
        self.batches: list[list[RunEvent]] = []
        self.store_answers = True
        self.stop = False

    @property
    def events(self) -> list[RunEvent]:
        return [event for batch in self.batches for event in batch]

    def other(self) -> Runner:
        """As another process of the same data directory has it."""
        return self.runner

    async def job(self, status: Status, **more: Any) -> Job:
        """A job that will end so."""
        play = "- name: Test\n  hosts: targets\n  gather_facts: false\n  tasks:\n"
        task = f"- name: Do it\n  {TASKS[status]}\n"
        self.stop = status == "cancelled"
        values: dict[str, Any] = {
            "run_id": new_id(), "mode": "run", "playbook_id": "test_play",
            "files": {"playbook.yml": (play + textwrap.indent(task, "    ")).encode()},
            "hosts": (JobHost(name="here", connection="local", writable=(str(self.base),)),),
            "params": {"path": str(self.base / "file")},
            "isolation": await self.runner.isolation(),
            "timeout_seconds": 1 if status == "timeout" else 60,
        }  # fmt: skip
        return Job.model_validate(values | more)

    async def run(self, job: Job) -> RunResult:
        async def record(events: Sequence[RunEvent]) -> None:
            if not self.store_answers:
                raise Unavailable("the store does not answer")
            self.batches.append(list(events))

        async def cancelled() -> bool:
            if not self.store_answers:
                raise Unavailable("the store does not answer")
            return self.stop

        return await self.runner.run(job, record, cancelled)


class FakePlace(Place):
    """The fake does not read playbooks: it is told how they end."""

    runner: FakeRunner

    async def job(self, status: Status, **more: Any) -> Job:
        self.runner.check_status = self.runner.run_status = "successful" if status == "cancelled" else status
        return await super().job(status, **more)


class AnsiblePlace(Place):
    """The real one."""

    def other(self) -> Runner:
        return AnsibleRunner(RunnerSettings(), data_dir=self.base.parent / "data")


def ansible(base: Path) -> Place:
    (base / "open").mkdir()
    return AnsiblePlace(AnsibleRunner(RunnerSettings(), data_dir=base / "data"), base / "open")


def fake(base: Path) -> Place:
    return FakePlace(FakeRunner(FakeClock()), base)


MAKERS: list[Callable[[Path], Place]] = [ansible, fake]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


async def test_a_run_that_goes_well_and_its_events_in_order(place: Place) -> None:
    job = await place.job("successful")
    result = await place.run(job)
    assert (result.status, result.rc, result.why) == ("successful", 0, "")
    assert result.stats["here"].ok == result.stats["here"].changed == 1
    assert [change.lower() for change in result.changes] == ["here: do it"]
    assert result.isolation == ("bwrap" if job.isolation == "netns" else job.isolation)  # a local host: no gate
    assert result.started_at.tzinfo is not None
    assert result.started_at <= result.ended_at
    numbers = [event.seq for event in place.events]
    assert numbers == sorted(set(numbers)) and numbers
    assert place.events[0].kind == "play"
    assert all(event.at.tzinfo is not None for event in place.events)


async def test_a_rehearsal_ends_with_a_result_as_well(place: Place) -> None:
    result = await place.run(await place.job("successful", mode="check"))
    assert (result.status, len(result.changes)) == ("successful", 1)
    assert not (place.base / "file").exists()


@pytest.mark.parametrize("status", ["failed", "cancelled", "timeout"])
async def test_every_other_end_says_which_and_why(place: Place, status: Status) -> None:
    result = await place.run(await place.job(status))
    assert result.status == status
    assert result.why and result.rc != 0
    assert result.changes == ()
    assert result.started_at <= result.ended_at


async def test_a_store_that_is_silent_takes_nothing_from_the_answer(place: Place) -> None:
    place.store_answers = False
    result = await place.run(await place.job("successful"))
    assert (result.status, place.events) == ("successful", [])


async def test_isolation_is_one_word_and_stays_it(place: Place) -> None:
    found = await place.runner.isolation()
    assert found in RUNGS
    assert await place.runner.isolation() == found


async def test_a_run_is_over_when_nobody_is_at_work_on_it(place: Place) -> None:
    job, answers = await place.job("successful"), list[bool]()

    async def record(events: Sequence[RunEvent]) -> None:
        answers.append(await place.other().is_over(job.run_id))

    async def no() -> bool:
        return False

    assert await place.runner.is_over(job.run_id)
    assert (await place.runner.run(job, record, no)).status == "successful"
    assert answers[0] is False and await place.other().is_over(job.run_id)


Break = Callable[[Place, Job], Job]
BROKEN: dict[str, Break] = {
    "no playbook": lambda place, job: job.model_copy(update={"files": {}}),
    "no yaml": lambda place, job: job.model_copy(update={"files": {"playbook.yml": b"- hosts: [}"}}),
    "no hosts": lambda place, job: job.model_copy(update={"hosts": ()}),
    "no credential": lambda place, job: job.model_copy(update={"credentials": ("nowhere",)}),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_run_is_answered_too(name: str, tmp_path: Path) -> None:
    place = ansible(tmp_path)
    result = await place.run(BROKEN[name](place, await place.job("successful")))
    assert result.status == "failed" and result.why


async def test_events_wait_for_a_store_that_comes_back(tmp_path: Path) -> None:
    place = ansible(tmp_path)
    job, seen, tries = await place.job("successful"), list[int](), list[int]()

    async def record(events: Sequence[RunEvent]) -> None:
        tries.append(len(events))
        if len(tries) == 1:
            raise Unavailable("the store does not answer")
        seen.extend(event.seq for event in events)

    async def no() -> bool:
        return False

    await place.runner.run(job, record, no)
    assert seen == list(range(len(seen))) and len(tries) > 1
