"""Rule S19 over fakes: several hosts one after the other, each proved before the next, and what a stop leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver import stepping
from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Approved, Closed, Planned
from receiver.domain.outcome import Mode, Outcome, Verdict
from receiver.domain.plan import Plan
from receiver.domain.playbook import read_playbook
from receiver.domain.run import Job, RunResult
from receiver.errors import Invalid
from receiver.identity import new_id
from receiver.testing import World
from tests.unit.test_pipeline import CATALOG, FILES, PLAYBOOK

pytestmark = pytest.mark.anyio
SEVERAL = (
    CATALOG.replace(b"handles:\n  - match: 'alertname=\"WebDown\"'\n", b"")
    .replace(b"host: {type: string, x-kind: host}", b"hosts: {type: array, items: {type: string}, x-kind: host}")
    .replace(b"required: [host, service]", b"required: [hosts, service]")
    .replace(b"{param: host, max_hosts: 1, serial: 1}", b"{param: hosts, max_hosts: 3, serial: 1}")
    + b"verify:\n  - {id: up, promql: 'web_up', expect: '== 1'}\n"
)
HOSTS = b"all:\n  hosts:\n" + b"".join(
    b"    web%d: {ansible_host: 127.0.0.%d, gitmedic: {match: ['instance=\"web%d\"']}}\n" % (n, n, n) for n in (1, 2, 3)
)
SITE = {**FILES, "playbooks/web/restart/catalog.yml": SEVERAL, "inventory/hosts.yml": HOSTS}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(stepping, "PROVE_SECONDS", 0.4)
    monkeypatch.setattr(stepping, "ASK_SECONDS", 0.02)
    return World(SITE, RulesPlanner())


async def merged(world: World) -> str:
    """A run on three hosts that a person asked for, and another one merged."""
    plan = Plan(
        action="playbook", playbook="web_restart", why="asked",
        params={"hosts": ["web1", "web2", "web3"], "service": "web"},
    )  # fmt: skip
    case = Planned(
        id=new_id(), opened_at=world.clock.now(), revision=await world.repo.adopted(), mode=Mode.PROPOSE, entity=None,
        plan=plan, requested_by="os:anna",
    )  # fmt: skip
    world.cases.add(case)
    await world.settle()
    assert world.case(case.id).kind == "proposed", world.case(case.id)
    await world.merge(case.id, "anna")
    return case.id


async def ended(world: World, case: str) -> Closed:
    await world.settle_for(30)
    found = world.case(case)
    assert isinstance(found, Closed), (found.kind, world.waiting(case))
    return found


def seen(world: World, mode: str = "run") -> list[list[str]]:
    """The hosts that each child process saw."""
    return [[host.name for host in job.hosts] for job in world.runner.jobs if job.mode == mode]


async def test_each_host_has_a_process_of_its_own_and_all_are_proved(world: World) -> None:
    case = await merged(world)
    end = await ended(world, case)
    assert end.outcome is Outcome.FIXED, end.why
    assert seen(world, "check") == [["web1", "web2", "web3"]]
    assert seen(world) == [["web1"], ["web2"], ["web3"]]
    assert end.result is not None and set(end.result.stats) == {"web1", "web2", "web3"}
    assert len(world.repo.claims) == 1 and [one.id for one in end.verification.checks] == ["up"] * 3  # type: ignore[union-attr]
    log = next(iter(one["events"] for one in world.runs.attempts.values() if one["mode"] == "run"))
    assert [event.seq for event in log] == [0, 1, 2]


@pytest.mark.parametrize("verdict", [Verdict.STILL_FIRING, Verdict.NO_DATA])
async def test_a_host_that_is_not_proved_is_the_last(world: World, verdict: Verdict) -> None:
    world.proof.check_verdict = verdict
    end = await ended(world, await merged(world))
    assert end.outcome is Outcome.FAILED and seen(world) == [["web1"]]
    assert "stopped at web1: not proved in" in end.why and str(verdict) in end.why
    assert "; changed, and not proved: web1; not touched: web2, web3" in end.why


async def test_it_stops_at_the_first_failure(world: World) -> None:
    def fail_second(job: Job) -> None:
        world.runner.run_status = "failed" if job.hosts[0].name == "web2" else "successful"

    world.runner.on_run = fail_second
    end = await ended(world, await merged(world))
    assert end.outcome is Outcome.FAILED and seen(world) == [["web1"], ["web2"]]
    assert "stopped at web2: the fake ends failed; done: web1; not touched: web3" in end.why


async def test_a_pause_holds_between_two_hosts(world: World) -> None:
    world.runner.on_run = lambda job: setattr(
        world.ledger, "why_paused", "paused: holiday" if job.mode == "run" else None
    )
    end = await ended(world, await merged(world))
    assert seen(world) == [["web1"]] and "paused: holiday" in end.why


async def test_called_off_between_two_hosts(world: World) -> None:
    case = await merged(world)
    run = getattr(world.case(case), "runfile").run  # noqa: B009
    world.runner.on_run = lambda job: world.runs.stop.add(run) if job.mode == "run" else None
    end = await ended(world, case)
    assert end.outcome is Outcome.CANCELLED and seen(world) == [["web1"]]


async def test_an_old_answer_lets_no_later_step_begin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = world.runs.ask_clearance

    async def stale(run: str, case: str) -> Any:
        answer = await ask(run, case)
        return answer.model_copy(update={"step": 0, "granted": True}) if answer else None

    monkeypatch.setattr(world.runs, "ask_clearance", stale)
    end = await ended(world, await merged(world))
    assert seen(world) == [["web1"]] and "not touched: web2, web3" in end.why


async def test_a_crash_in_the_second_step_says_what_is_known(world: World) -> None:
    case = await merged(world)
    await world.locks.take("other", "other", ["host:web2"])
    await world.settle()
    approved = world.case(case)
    assert isinstance(approved, Approved), world.waiting(case)
    run, now = approved.runfile.run, world.clock.now()
    attempt = await world.runs.begin(run, case, "run", "test")
    await world.runs.begin_step(run, 0, attempt, ["web1"])
    await world.runs.end_step(run, 0, RunResult(status="successful", started_at=now, ended_at=now))
    await world.runs.begin_step(run, 1, attempt, ["web2"])
    end = await ended(world, case)
    assert end.outcome is Outcome.INTERRUPTED and seen(world) == []
    assert "on web2; what it did there is not known; done: web1; not touched: web3" in end.why


async def test_a_run_whose_every_step_ended_is_taken_over_as_it_ended(world: World) -> None:
    case = await merged(world)
    await world.locks.take("other", "other", ["host:web2"])
    await world.settle()
    run, now = getattr(world.case(case), "runfile").run, world.clock.now()  # noqa: B009
    attempt = await world.runs.begin(run, case, "run", "test")
    for number in range(3):
        await world.runs.begin_step(run, number, attempt, [f"web{number + 1}"])
        await world.runs.end_step(run, number, RunResult(status="successful", started_at=now, ended_at=now))
    assert (await ended(world, case)).outcome is Outcome.FIXED and seen(world) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"verify:\n", b"quality: {}\nhandles:\n  - match: 'alertname=\"A\"'\nverify:\n"),
        (b"verify:\n  - {id: up, promql: 'web_up', expect: '== 1'}\n", b""),
        (b"items: {type: string}", b"items: {type: integer}"),
        (b"serial: 1", b"serial: 0"),
    ],
)
async def test_several_hosts_are_asked_for_by_a_person_and_can_be_proved(old: bytes, new: bytes) -> None:
    read_playbook("playbooks/web/restart", {"catalog.yml": SEVERAL, "playbook.yml": PLAYBOOK})
    with pytest.raises(Invalid):
        read_playbook("playbooks/web/restart", {"catalog.yml": SEVERAL.replace(old, new), "playbook.yml": PLAYBOOK})
    await asyncio.sleep(0)
