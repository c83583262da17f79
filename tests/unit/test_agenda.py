"""Schedules over fakes: once each moment, reads without a proposal where they are listed, changes only as proposals."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Closed, Ended, Proposed, Vetted
from receiver.domain.outcome import Outcome
from receiver.errors import Conflict, Refused
from receiver.pipeline import advance
from receiver.testing import World
from tests.unit.test_pipeline import CATALOG, FILES, POLICY

LOOK = b"""
- name: Look
  hosts: targets
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.stat:
        path: /tmp
"""
SCHEDULES = b"""
read_without_proposal: [web_look]
schedules:
  look: {cron: '0 * * * *', playbook: web_look, match: 'site="home"', params: {service: web}}
  mend: {cron: '30 * * * *', playbook: web_restart, hosts: [web1], missed: skip}
"""
OWN = FILES | {
    "playbooks/web/look/playbook.yml": LOOK,
    "playbooks/web/look/catalog.yml": CATALOG.replace(b"effect: change", b"effect: read"),
    "policy.yml": POLICY + SCHEDULES,
}
pytestmark = pytest.mark.anyio


@pytest.fixture
async def world() -> World:
    world = World(OWN, RulesPlanner())
    await world.agenda.tick()  # a new schedule begins now
    return world


async def go(world: World, minutes: float, *, step: float = 5) -> None:
    """Time goes by, and planners look."""
    for _ in range(int(minutes / step)):
        world.clock.pass_seconds(60 * step)
        await asyncio.gather(*[world.agenda.tick() for _ in range(3)])
        await world.settle()


def fates(world: World, name: str) -> list[str]:
    return [moment.fate for (of, _), (moment, _) in sorted(world.schedules.filed.items()) if of == name]


def closed(world: World) -> list[Closed]:
    return [row.case for row in world.cases.rows.values() if isinstance(row.case, Closed)]


async def to_vetted(world: World) -> Vetted:
    """The first case of the reading schedule, as the guard left it."""
    for _ in range(12):
        world.clock.pass_seconds(300)
        await world.agenda.tick()
        for row in world.cases.rows.values():
            if getattr(row.case, "scheduled", None) and row.case.scheduled.schedule == "look":
                vetted = await advance(row.case, world.ports)
                assert isinstance(vetted, Vetted), vetted
                return vetted
    raise AssertionError("nothing was due")


async def test_what_only_reads_runs_without_a_proposal(world: World) -> None:
    await go(world, 60)
    assert fates(world, "look") == ["ran"]
    assert sorted(job.hosts[0].name for job in world.runner.jobs if job.playbook_id == "web_look") == ["web1", "web2"]
    ends = [case for case in closed(world) if case.plan and case.plan.playbook == "web_look"]
    assert [(end.outcome, end.proposal, end.rehearsals) for end in ends] == [(Outcome.DIAGNOSED, None, ())] * 2
    commit = world.repo.adopted_commit
    for end in ends:
        assert end.requested_by == f"policy:look@{commit}" and end.standing is not None
        assert end.standing.by == f"policy:look@{commit}"
        assert all(answer.passed is not False for answer in end.asked) and end.asked
        assert end.plan is not None and end.plan.params["service"] == "web"
    assert len(world.repo.claims) == 2  # rule S2
    assert not set(world.ledger.taken_at) & {end.id for end in ends}


async def test_a_change_is_only_ever_a_proposal(world: World) -> None:
    await go(world, 60)
    found = [row.case for row in world.cases.rows.values() if isinstance(row.case, Proposed)]
    assert [case.plan.playbook for case in found] == ["web_restart"]
    assert [job.mode for job in world.runner.jobs if job.playbook_id == "web_restart"] == ["check"]
    await world.merge(found[0].id, "anna")
    await world.settle()
    assert [job.mode for job in world.runner.jobs if job.playbook_id == "web_restart"] == ["check", "run"]


async def test_a_change_that_is_listed_as_reading_is_still_a_proposal() -> None:
    policy = (POLICY + SCHEDULES).replace(b"[web_look]", b"[web_look, web_restart]")
    world = World(OWN | {"policy.yml": policy}, RulesPlanner())
    await world.agenda.tick()
    await go(world, 60)
    assert [job.mode for job in world.runner.jobs if job.playbook_id == "web_restart"] == ["check"]


async def test_a_read_that_is_not_listed_is_a_proposal() -> None:
    policy = (POLICY + SCHEDULES).replace(b"[web_look]", b"[]")
    world = World(OWN | {"policy.yml": policy}, RulesPlanner())
    await world.agenda.tick()
    await go(world, 60)
    assert {job.mode for job in world.runner.jobs if job.playbook_id == "web_look"} == {"check"}


async def test_a_policy_that_only_observes_touches_no_host() -> None:
    policy = (POLICY + SCHEDULES).replace(b"mode: propose\nsources", b"mode: observe\nsources")
    world = World(OWN | {"policy.yml": policy}, RulesPlanner())
    await world.agenda.tick()
    await go(world, 60)
    assert (fates(world, "look"), fates(world, "mend")) == (["observed"], ["observed"])
    assert world.cases.rows == {}
    with pytest.raises(Conflict, match="this very moment"):
        await world.agenda.run("look", actor="os:anna")
    world.clock.pass_seconds(1)
    await world.agenda.run("look", actor="os:anna")  # and a person's word is no way around
    await world.settle()
    assert world.runner.jobs == [] and {case.outcome for case in closed(world)} == {Outcome.OBSERVED}


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"policy.yml": POLICY + SCHEDULES.replace(b"[web_look]", b"[]")}, "listed"),
        ({"policy.yml": POLICY + SCHEDULES.replace(b"look: {", b"look: {enabled: no, ")}, "scheduled"),
        ({"policy.yml": POLICY + SCHEDULES.replace(b"look: {", b"sees: {")}, "scheduled"),
        ({"policy.yml": POLICY + SCHEDULES.replace(b'site="home"', b'host="nas"')}, "scheduled"),
        ({"playbooks/web/look/playbook.yml": LOOK.replace(b"/tmp", b"/srv")}, "undiverged"),
        ({"inventory/hosts.yml": OWN["inventory/hosts.yml"].replace(b"127.0.0", b"127.0.1")}, "undiverged"),
    ],
    ids=["no longer listed", "disabled", "gone", "other hosts", "other bytes", "other addresses"],
)  # fmt: skip
async def test_what_was_taken_back_before_the_start_does_not_run(
    world: World, what: dict[str, bytes], reason: str
) -> None:
    vetted = await to_vetted(world)
    world.repo.adopt(OWN | what)
    end = await advance(vetted, world.ports)
    assert isinstance(end, Ended) and end.reason == reason, end
    assert world.runner.jobs == [] and world.repo.claims == {}


async def test_bytes_that_do_not_only_read_do_not_run(world: World) -> None:
    vetted = await to_vetted(world)
    for extra in ({"roles/sly/tasks/main.yml": b"[]"}, {"tasks/x.yml": b"[{ansible.builtin.reboot: {}}]"}):
        files = dict(await world.repo.files(vetted.revision, "playbooks/web/look")) | extra
        world.repo.files = lambda *_, files=files: _given(files)  # type: ignore[method-assign,misc]
        end = await advance(vetted, world.ports)
        assert isinstance(end, Ended) and end.reason == "only_reads", end
        del world.repo.files
    assert world.runner.jobs == []


async def _given(files: dict[str, bytes]) -> dict[str, bytes]:
    return files


async def test_a_claim_that_somebody_else_has_runs_nothing(world: World) -> None:
    vetted = await to_vetted(world)
    assert await world.repo.claim(vetted.runfile.run, "another", "n")
    end = await advance(vetted, world.ports)
    assert isinstance(end, Ended) and end.outcome is Outcome.INTERRUPTED and world.runner.jobs == []


async def test_begun_without_an_end_is_unknown_and_is_not_begun_again(world: World) -> None:
    vetted = await to_vetted(world)
    await world.runs.begin(vetted.runfile.run, vetted.id, "run", "test")
    end = await advance(vetted, world.ports)
    assert isinstance(end, Ended) and end.outcome is Outcome.INTERRUPTED and world.runner.jobs == []


async def test_what_was_decided_before_a_silence_does_not_run_after_it(world: World) -> None:
    vetted = await to_vetted(world)
    world.clock.pass_seconds(1)
    world.ledger.since = world.clock.now()
    end = await advance(vetted, world.ports)
    assert isinstance(end, Ended) and end.reason == "fresh" and world.runner.jobs == []


async def test_missed_moments_are_made_up_for_once_or_skipped(world: World) -> None:
    await go(world, 300, step=300)
    assert fates(world, "look") == ["missed"] * 4 + ["ran"]
    assert fates(world, "mend") == ["missed"] * 5
    marks = {row["name"]: row for row in await world.schedules.marks()}
    assert marks["look"]["next_at"] > world.clock.now() and marks["mend"]["last_fate"] == "missed"


async def test_a_new_rule_and_a_schedule_that_comes_back_make_up_for_nothing(world: World) -> None:
    world.clock.pass_seconds(4 * 3600)
    world.repo.adopt(OWN | {"policy.yml": POLICY + SCHEDULES.replace(b"'0 * * * *'", b"'15 * * * *'")})
    await world.agenda.tick()
    assert fates(world, "look") == []
    world.repo.adopt(OWN | {"policy.yml": POLICY})
    await world.agenda.tick()
    world.clock.pass_seconds(4 * 3600)
    world.repo.adopt(OWN)
    await world.agenda.tick()
    assert fates(world, "look") == [] and fates(world, "mend") == ["missed"] * 4


async def test_paused_disabled_and_overlapping_moments_have_their_row(world: World) -> None:
    world.ledger.why_paused = "paused: moving house"
    await go(world, 60)
    assert (fates(world, "look"), fates(world, "mend")) == (["paused"], ["paused"])
    world.ledger.why_paused = None
    await go(world, 120)
    assert fates(world, "mend") == ["paused", "ran", "overlap"]  # its proposal is still open
    world.repo.adopt(OWN | {"policy.yml": POLICY + SCHEDULES.replace(b"look: {", b"look: {enabled: no, ")})
    await go(world, 60)
    assert fates(world, "look") == ["paused", "ran", "ran", "disabled"]
    assert {row["name"]: row["next_at"] for row in await world.schedules.marks()}["look"] is None


@pytest.mark.parametrize("old", [b"web_restart, hosts: [web1]", b"web_restart, hosts: [web1]}"])
async def test_a_schedule_that_fits_nothing_says_so_once(old: bytes) -> None:
    new = b"web_gone, hosts: [web1]" if old.endswith(b"]") else b"web_restart, match: 'host=\"nas\"'}"
    policy = POLICY + SCHEDULES.replace(b", missed: skip", b"").replace(old, new)
    world = World(OWN | {"policy.yml": policy}, RulesPlanner())
    await world.agenda.tick()
    await go(world, 60)
    assert fates(world, "mend") == ["refused"]
    told = [subject for subject, _, _ in world.notifier.told if "mend" in subject]
    assert told == ["schedule mend could not run"] * old.endswith(b"]")  # a matcher may mean no host yet


async def test_a_clock_that_had_jumped_ahead_silences_nothing(world: World) -> None:
    world.clock.pass_seconds(86400)
    await world.agenda.tick()
    world.clock.pass_seconds(-86400)
    await world.settle()
    world.cases.rows.clear()
    world.schedules.filed = {key: (moment, ()) for key, (moment, _) in world.schedules.filed.items()}
    await world.agenda.tick()
    await go(world, 60)
    assert fates(world, "look")[-1] == "ran"


async def test_a_person_who_may_dispatch_runs_it_now(world: World) -> None:
    moment = await world.agenda.run("look", actor="os:anna")
    with pytest.raises(Conflict):
        await world.agenda.run("look", actor="os:anna")
    await world.settle()
    assert len(world.runner.jobs) == 2 and moment.by == "os:anna"
    assert {case.outcome for case in closed(world)} == {Outcome.DIAGNOSED}
    for actor in ("os:guest", "token:ci", f"policy:look@{world.repo.adopted_commit}", "os:nobody"):
        with pytest.raises(Refused, match="may not dispatch"):
            await world.agenda.run("look", actor=actor)
    with pytest.raises(Refused, match="none of this name"):
        await world.agenda.run("gone", actor="os:anna")


async def test_the_jitter_is_waited_for() -> None:
    policy = POLICY + SCHEDULES.replace(b"look: {", b"look: {jitter: 1h, ")
    world = World(OWN | {"policy.yml": policy}, RulesPlanner())
    await world.agenda.tick()
    await go(world, 180)
    found = [moment for (of, _), (moment, _) in sorted(world.schedules.filed.items()) if of == "look"]
    assert found and all(
        moment.planned_at <= moment.due_at <= moment.planned_at + timedelta(hours=1) for moment in found
    )
    assert all(moment.planned_at.minute == 0 for moment in found)
