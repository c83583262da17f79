"""The whole way over fakes: from an alert to Closed, and every early end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.alert import Alert
from receiver.domain.case import Approved, Closed, Planned, Proposed
from receiver.domain.entity import entity_of
from receiver.domain.outcome import Mode, Outcome, Verdict
from receiver.domain.plan import Plan
from receiver.testing import World

CATALOG = b"""
schema: 1
title: Restart the web service
use_when: the service does not answer
not_when: it was stopped on purpose
effect: change
risk: low
handles:
  - match: 'alertname="WebDown"'
params:
  type: object
  additionalProperties: false
  required: [host, service]
  properties:
    host: {type: string, x-kind: host}
    service: {type: string, enum: [web], default: web}
targets: {param: host, max_hosts: 1, serial: 1}
locks: [host]
reversible: yes
"""
PLAYBOOK = b"""
- name: Restart the web service
  hosts: targets
  gather_facts: false
  tasks:
    - name: Restart
      ansible.builtin.file:
        path: /tmp/restart
        state: touch
        mode: '0600'
"""
INVENTORY = b"""
all:
  hosts:
    web1:
      ansible_host: 127.0.0.1
      ansible_connection: ssh
      gitmedic: {site: home, match: ['instance="web1"']}
    web2:
      ansible_host: 127.0.0.2
      ansible_connection: ssh
      gitmedic: {site: home, match: ['instance="web2"']}
"""
POLICY = b"""
mode: propose
sources: {prom: {mode: propose}}
people:
  - {name: anna, os: [anna], session: [anna], approves: medium, dispatches: yes}
  - {name: guest, os: [guest], session: [guest]}
approvals: {solo: anna}
"""
FILES = {
    "playbooks/web/restart/playbook.yml": PLAYBOOK,
    "playbooks/web/restart/catalog.yml": CATALOG,
    "inventory/hosts.yml": INVENTORY,
    "policy.yml": POLICY,
}


def alert(instance: str = "web1", name: str = "WebDown", **labels: str) -> Alert:
    return Alert(
        source="prom",
        fingerprint=f"{abs(hash((instance, name))):016x}"[:16],
        starts_at=datetime(2026, 11, 26, 12, 0, tzinfo=UTC),
        status="firing",
        labels={"alertname": name, "instance": instance, "severity": "critical", **labels},
    )


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


async def proposed(world: World) -> str:
    case = world.fire(alert())
    await world.settle()
    assert isinstance(world.case(case), Proposed), world.case(case)
    return case


async def closed(world: World, case: str) -> Closed:
    await world.settle_for(30)
    found = world.case(case)
    assert isinstance(found, Closed), found
    return found


@pytest.mark.anyio
async def test_alert_to_verified_fix(world: World) -> None:
    case = await proposed(world)
    assert world.waiting(case).startswith("needs you")
    world.runner.on_run = lambda job: setattr(
        world.proof, "verdict", Verdict.RESOLVED if job.mode == "run" else Verdict.STILL_FIRING
    )
    await world.merge(case, "anna")
    end = await closed(world, case)
    assert end.outcome is Outcome.FIXED
    assert [job.mode for job in world.runner.jobs] == ["check", "run"]
    kinds = [event.kind for event in world.cases.rows[case].events if event.kind != "case.waiting"]
    assert kinds == [
        f"case.{kind}"
        for kind in [
            "triaged",
            "investigated",
            "planned",
            "vetted",
            "rehearsed",
            "proposed",
            "approved",
            "executed",
            "verified",
            "closed",
        ]
    ]
    assert world.locks.held == {}
    assert world.ledger.slots[case] is False
    assert "fixed" in world.forge.comments[1]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [(Verdict.STILL_FIRING, Outcome.NOT_FIXED), (Verdict.NO_DATA, Outcome.NO_DATA)],
)
async def test_a_green_run_is_not_a_fix(world: World, verdict: Verdict, outcome: Outcome) -> None:
    case = await proposed(world)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", verdict)
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is outcome
    assert world.notifier.told


@pytest.mark.anyio
async def test_a_verify_query_that_fails_is_not_a_fix() -> None:
    verify = b"verify:\n  - {id: up, promql: 'web_up', expect: '== 1'}\n"
    world = World({**FILES, "playbooks/web/restart/catalog.yml": CATALOG + verify}, RulesPlanner())
    case = await proposed(world)
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    world.proof.check_verdict = Verdict.STILL_FIRING
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.NOT_FIXED


@pytest.mark.anyio
async def test_a_failed_run(world: World) -> None:
    case = await proposed(world)
    world.runner.run_status = "failed"
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.FAILED


@pytest.mark.anyio
async def test_run_files_lie_below_the_folder_of_the_settings(world: World) -> None:
    places = world.ports.places
    world.ports = replace(world.ports, places=replace(places, main=replace(places.main, prefix="infra/ops")))
    case = await proposed(world)
    (branch,) = world.repo.branches.values()
    assert branch[2].startswith("infra/ops/runs/")
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is not Outcome.SUPERSEDED
    assert [job.mode for job in world.runner.jobs].count("run") == 1


@pytest.mark.anyio
async def test_observe_touches_no_host() -> None:
    world = World({**FILES, "policy.yml": POLICY.replace(b"mode: propose\n", b"mode: observe\n", 1)}, RulesPlanner())
    case = world.fire(alert())
    end = await closed(world, case)
    assert end.outcome is Outcome.OBSERVED
    assert end.plan is not None and end.plan.playbook == "web_restart"
    assert world.runner.jobs == [] and world.forge.pulls == {}


@pytest.mark.anyio
async def test_an_unconfirmed_alert_changes_nothing(world: World) -> None:
    world.proof.confirmed = False
    end = await closed(world, world.fire(alert()))
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "confirmed")
    assert world.runner.jobs == []


@pytest.mark.anyio
async def test_an_alert_that_nobody_handles_is_notified(world: World) -> None:
    end = await closed(world, world.fire(alert(name="Strange")))
    assert end.outcome is Outcome.NOTIFIED
    assert world.notifier.told[0][2] == end.id


@pytest.mark.anyio
@pytest.mark.parametrize("instance", ["nobody", ""])
async def test_an_unknown_host_is_not_guessed(world: World, instance: str) -> None:
    end = await closed(world, world.fire(alert(instance=instance)))
    assert end.outcome in (Outcome.NOTIFIED, Outcome.REFUSED)
    assert world.runner.jobs == []


@pytest.mark.anyio
async def test_a_failed_rehearsal_proposes_nothing(world: World) -> None:
    world.runner.check_status = "failed"
    end = await closed(world, world.fire(alert()))
    assert end.outcome is Outcome.REHEARSAL_FAILED
    assert world.forge.pulls == {}


@pytest.mark.anyio
async def test_gone_closes_itself_only_on_proof(world: World) -> None:
    case = await proposed(world)
    world.ledger.resolved_at[alert().fingerprint] = world.clock.now()
    world.proof.verdict = Verdict.NO_DATA
    await world.settle_for(60)
    assert isinstance(world.case(case), Proposed)
    assert "went silent: no data" in world.waiting(case)
    assert world.forge.pulls[1].state == "open"
    world.proof.verdict = Verdict.RESOLVED
    end = await closed(world, case)
    assert end.outcome is Outcome.SELF_RESOLVED
    assert world.forge.pulls[1].state == "closed"


@pytest.mark.anyio
async def test_resolved_between_merge_and_start_is_not_run_against(world: World) -> None:
    case = await proposed(world)
    world.proof.verdict = Verdict.RESOLVED
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.SELF_RESOLVED
    assert [job.mode for job in world.runner.jobs] == ["check"]


@pytest.mark.anyio
async def test_no_data_before_the_start_waits(world: World) -> None:
    case = await proposed(world)
    world.proof.verdict = Verdict.NO_DATA
    await world.merge(case, "anna")
    await world.settle_for(30)
    assert isinstance(world.case(case), Approved)
    assert [job.mode for job in world.runner.jobs] == ["check"]
    assert world.locks.held == {}


@pytest.mark.anyio
async def test_nobody_decides(world: World) -> None:
    case = await proposed(world)
    world.clock.pass_seconds(4 * 3600 + 1)
    assert (await closed(world, case)).outcome is Outcome.EXPIRED
    assert world.forge.pulls[1].state == "closed"


@pytest.mark.anyio
async def test_merged_after_expiry_does_not_run(world: World) -> None:
    case = await proposed(world)
    world.clock.pass_seconds(4 * 3600 + 1)
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.EXPIRED
    assert len(world.runner.jobs) == 1


@pytest.mark.anyio
async def test_rejected(world: World) -> None:
    case = await proposed(world)
    await world.forge.reject(1, "anna", "session", "no")
    assert (await closed(world, case)).outcome is Outcome.REJECTED


@pytest.mark.anyio
async def test_an_approval_by_somebody_not_entitled_runs_nothing(world: World) -> None:
    case = await proposed(world)
    await world.merge(case, "guest")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "quorum")
    assert len(world.runner.jobs) == 1


@pytest.mark.anyio
async def test_an_edited_run_file_runs_nothing(world: World) -> None:
    case = await proposed(world)
    await world.merge(case, "anna")
    merge = world.forge.pulls[1].merge_sha or ""
    path, content = world.repo.landed[merge]
    world.repo.landed[merge] = (path, content.replace(b"web1", b"web2"))
    end = await closed(world, case)
    assert end.outcome is Outcome.REFUSED and end.reason in ("same_bytes", "as_proposed")
    assert len(world.runner.jobs) == 1


@pytest.mark.anyio
async def test_a_playbook_changed_meanwhile_supersedes(world: World) -> None:
    case = await proposed(world)
    world.repo.adopt({**FILES, "playbooks/web/restart/playbook.yml": PLAYBOOK.replace(b"0600", b"0644")})
    await world.merge(case, "anna")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.SUPERSEDED, "undiverged")
    assert "run" not in [job.mode for job in world.runner.jobs]


@pytest.mark.anyio
async def test_targets_moved_meanwhile_supersede(world: World) -> None:
    case = await proposed(world)
    world.repo.adopt({**FILES, "inventory/hosts.yml": INVENTORY.replace(b"127.0.0.1", b"127.0.0.9")})
    await world.merge(case, "anna")
    assert (await closed(world, case)).outcome is Outcome.SUPERSEDED


@pytest.mark.anyio
async def test_a_crash_in_the_middle_is_unknown_and_never_run_again(world: World) -> None:
    case = await proposed(world)
    run = getattr(world.case(case), "runfile").run  # noqa: B009
    await world.locks.take("other", "other", ["host:web1"])
    await world.merge(case, "anna")
    await world.settle()
    await world.runs.begin_step(run, 0, await world.runs.begin(run, case, "run", "test"), ["web1"])
    end = await closed(world, case)
    assert end.outcome is Outcome.INTERRUPTED and "not known" in end.why
    assert [job.mode for job in world.runner.jobs] == ["check"]


@pytest.mark.anyio
async def test_a_claimed_run_is_never_run_again(world: World) -> None:
    case = await proposed(world)
    run = getattr(world.case(case), "runfile").run  # noqa: B009
    await world.merge(case, "anna")
    world.repo.claims[run] = "somebody else"
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.INTERRUPTED, "claim")
    assert [job.mode for job in world.runner.jobs] == ["check"]


@pytest.mark.anyio
async def test_approved_before_a_restore_needs_a_fresh_approval(world: World) -> None:
    case = await proposed(world)
    await world.merge(case, "anna")
    world.ledger.since = world.clock.now() + timedelta(seconds=1)
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "fresh")


@pytest.mark.anyio
async def test_one_change_at_a_time_per_host(world: World) -> None:
    case = await proposed(world)
    await world.locks.take("other-run", "other", ["host:web1"], "another run")
    await world.merge(case, "anna")
    await world.settle()
    assert "host:web1 is held by another run" in world.waiting(case)
    await world.locks.free("other-run")
    world.runner.on_run = lambda job: setattr(world.proof, "verdict", Verdict.RESOLVED)
    assert (await closed(world, case)).outcome is Outcome.FIXED


@pytest.mark.anyio
async def test_paused_starts_nothing(world: World) -> None:
    case = await proposed(world)
    world.ledger.why_paused = "paused: holiday"
    await world.merge(case, "anna")
    await world.settle_for(30)
    assert isinstance(world.case(case), Approved) and len(world.runner.jobs) == 1


@pytest.mark.anyio
async def test_slots_come_before_any_contact(world: World) -> None:
    for number in range(3):
        world.ledger.slots[f"other-{number}"] = True
    case = world.fire(alert())
    await world.settle()
    assert isinstance(world.case(case), Planned)
    assert world.waiting(case).startswith("proposal_limit")
    assert world.runner.jobs == []
    world.clock.pass_seconds(4 * 3600)
    assert (await closed(world, case)).outcome is Outcome.EXPIRED


@pytest.mark.anyio
async def test_without_a_sandbox_only_where_the_policy_says_so(world: World) -> None:
    world.runner.rung = "none"
    end = await closed(world, world.fire(alert()))
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "isolation")
    allowed = World({**FILES, "policy.yml": POLICY + b"isolation: {none_allowed: [home]}\n"}, RulesPlanner())
    allowed.runner.rung = "none"
    await proposed(allowed)


@pytest.mark.anyio
async def test_rehearsals_are_bounded(world: World) -> None:
    for number in range(2):
        await world.runs.begin(f"other-{number}", "other", "check", "test")
    case = world.fire(alert())
    await world.settle()
    assert world.case(case).kind == "vetted" and world.runner.jobs == []
    assert "rehearsals run" in world.waiting(case)


@pytest.mark.anyio
async def test_a_storm_has_one_case(world: World) -> None:
    cases = [world.fire(alert(instance=f"web{number}")) for number in range(1, 8)]
    await world.settle_for(5)
    outcomes = [getattr(world.case(case), "outcome", None) for case in cases]
    assert outcomes.count(Outcome.STORM) == 6


@pytest.mark.anyio
async def test_cooldown_and_flapping(world: World) -> None:
    first = await closed(world, world.fire(alert(name="Strange")))
    assert first.outcome is Outcome.NOTIFIED
    world.clock.pass_seconds(60)
    assert (await closed(world, world.fire(alert(name="Strange")))).outcome is Outcome.COOLDOWN


@pytest.mark.anyio
async def test_a_dispatch_meets_the_same_guard(world: World) -> None:
    def dispatched(by: str, host: str = "web1") -> str:
        case = Planned(
            id=f"dispatch-{by}-{host}",
            opened_at=world.clock.now(),
            revision=world.repo.adopted_commit,
            mode=Mode.PROPOSE,
            entity=None,
            plan=Plan(
                action="playbook",
                playbook="web_restart",
                params={"host": host, "service": "web"},
                why="asked",
            ),
            requested_by=by,
        )
        world.cases.add(case)
        return case.id

    allowed, stranger, nowhere = (
        dispatched("user:anna"),
        dispatched("user:guest"),
        dispatched("user:anna", "web9"),
    )
    await world.settle_for(2)
    assert isinstance(world.case(allowed), Proposed)
    assert getattr(world.case(stranger), "reason", "") == "risk"
    assert getattr(world.case(nowhere), "reason", "") == "targets"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [(Verdict.RESOLVED, Outcome.FIXED), (Verdict.STILL_FIRING, Outcome.NOT_FIXED), (None, Outcome.NO_DATA)],
)
async def test_a_dispatched_run_is_proved_by_its_playbooks_own_queries(
    verdict: Verdict | None, outcome: Outcome
) -> None:
    verify = b"verify:\n- {id: up, promql: up, match: {instance: host}, expect: '== 1'}\n" if verdict else b""
    world = World({**FILES, "playbooks/web/restart/catalog.yml": CATALOG + verify}, RulesPlanner())
    world.proof.check_verdict = verdict or Verdict.RESOLVED
    plan = Plan(action="playbook", playbook="web_restart", params={"host": "web1", "service": "web"}, why="asked")
    revision = await world.repo.revision(world.repo.adopted_commit)
    case = Planned(
        id="dispatched", opened_at=world.clock.now(), revision=world.repo.adopted_commit, mode=Mode.PROPOSE,
        entity=entity_of(revision.inventory.hosts["web1"]), plan=plan, requested_by="user:anna",
    )  # fmt: skip
    world.cases.add(case)
    await world.settle()
    await world.merge(case.id, "anna")
    await world.settle_for(200)  # hold, and the patience for a fix that needs a moment
    assert (await closed(world, case.id)).outcome is outcome
