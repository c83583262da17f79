"""What becomes of an open proposal: superseded, silent, turned down, closed by a stranger, moved, too old."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Approved, Closed, Proposed
from receiver.domain.forge import Account, Posture, Review, person_account
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.quorum import approval_text
from receiver.errors import Conflict, Refused, Unavailable
from receiver.pipeline import advance
from receiver.testing import World
from receiver.testing.repo import FakeSignatures
from tests.unit.test_pipeline import CATALOG, FILES, PLAYBOOK, alert, closed, proposed

pytestmark = pytest.mark.anyio
RULES = b"""
rules:
  - {name: two, approvals: 2}
"""
TWO_PEOPLE = b"""
mode: propose
sources: {prom: {mode: propose}}
people:
  - {name: anna, os: [anna], session: [anna], approves: high, dispatches: yes, ssh_keys: [anna-key]}
  - {name: bert, os: [bert], session: [bert], approves: high, ssh_keys: [bert-key]}
  - {name: guest, os: [guest], session: [guest]}
"""


@pytest.fixture
def world() -> World:
    return World(FILES, RulesPlanner())


def with_people(policy: bytes = TWO_PEOPLE, catalog: bytes = CATALOG) -> World:
    return World({**FILES, "policy.yml": policy, "playbooks/web/restart/catalog.yml": catalog}, RulesPlanner())


def open_cases(world: World) -> list[Any]:
    return [row.case for row in world.cases.rows.values() if not isinstance(row.case, Closed)]


def modes(world: World) -> list[str]:
    return [job.mode for job in world.runner.jobs]


async def test_a_catalog_that_moved_makes_room_for_a_new_proposal(world: World):
    case = await proposed(world)
    world.repo.adopt({**FILES, "playbooks/web/restart/playbook.yml": PLAYBOOK.replace(b"0600", b"0644")})
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.SUPERSEDED, "undiverged")
    assert world.forge.pulls[1].state == "closed" and "superseded" in world.forge.comments[1]
    (following,) = open_cases(world)
    assert isinstance(following, Proposed) and following.revision == world.repo.adopted_commit
    assert world.forge.pulls[2].state == "open"


async def test_who_may_approve_quiets_by_turning_down(world: World):
    case = await proposed(world)
    await world.forge.reject(1, "anna", "session", "not now")
    assert (await closed(world, case)).reason == "turned_down"
    assert open_cases(world) == []
    world.clock.pass_seconds(600)  # past the cooldown
    again = await closed(world, world.fire(alert()))
    assert (again.outcome, again.reason) == (Outcome.OBSERVED, "turned_down")
    # rule S18: the alert is critical, so it is not let be without a word
    assert any("turned_down" in subject or "observed" in subject for subject, *_ in world.notifier.told)
    world.clock.pass_seconds(24 * 3600)
    assert isinstance(world.case(await proposed(world)), Proposed)


async def test_a_stranger_who_closes_quiets_nothing(world: World):
    case = await proposed(world)
    pull = world.forge.pulls[1]
    stranger = Account(forge="local", id="mallory", login="mallory")
    world.forge.pulls[1] = pull.model_copy(update={"state": "closed", "closed_by": stranger})
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "closed")
    (following,) = open_cases(world)
    assert isinstance(following, Proposed) and world.forge.pulls[2].state == "open"
    assert any("rejected" in subject for subject, *_ in world.notifier.told)


async def test_a_deleted_account_that_closed_it_is_a_stranger(world: World):
    case = await proposed(world)
    world.forge.pulls[1] = world.forge.pulls[1].model_copy(update={"state": "closed", "closed_by": None})
    assert (await closed(world, case)).reason == "closed"


async def test_silence_is_marked_and_leaves_it_open(world: World):
    case = await proposed(world)
    world.proof.verdict = Verdict.NO_DATA
    world.ledger.resolved_at[alert().fingerprint] = world.clock.now()
    await world.settle_for(30)
    assert isinstance(world.case(case), Proposed)
    assert world.waiting(case).startswith("went silent: no data")
    assert "gitmedic/silent" in world.forge.marks[1].labels
    assert world.forge.comments[1].startswith("**No proof either way:** went silent")


async def test_proved_gone_closes_with_the_evidence(world: World):
    case = await proposed(world)
    world.proof.verdict = Verdict.RESOLVED
    assert (await closed(world, case)).outcome is Outcome.SELF_RESOLVED
    assert world.forge.pulls[1].state == "closed"


async def test_a_moved_branch_is_said_and_never_runs(world: World):
    case = await proposed(world)
    mallory = Account(forge="local", id="mallory", login="mallory")
    world.forge.pulls[1] = world.forge.pulls[1].model_copy(update={"head_sha": "f" * 40, "pushed_by": mallory})
    await world.settle_for(30)
    assert world.waiting(case).startswith("it will not run as it is: its branch was moved")
    assert world.forge.marks[1].state == "failure" and "by mallory" in world.forge.comments[1]
    merged = {"state": "merged", "merge_sha": "e" * 40, "merged_by": person_account("anna")}
    world.forge.pulls[1] = world.forge.pulls[1].model_copy(update={**merged, "merged_at": world.clock.now()})
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "same_head")
    assert modes(world) == ["check"]


async def test_what_is_still_required_stands_on_it(world: World):
    world = with_people(TWO_PEOPLE + RULES)
    case = await proposed(world)
    assert "0 of 2 approvals" in world.forge.comments[1] and "`anna`, `bert`" in world.forge.comments[1]
    await world.forge.approve(1, world.forge.pulls[1].head_sha, "anna", "session")
    await world.settle_for(30)
    assert "1 of 2 approvals" in world.waiting(case)
    await world.merge(case, "bert")
    await world.settle()
    found = world.case(case)
    assert getattr(found, "approval").approved_by == ("anna", "bert")  # noqa: B009


async def test_a_badly_protected_branch_waits_for_a_person(world: World):
    world = with_people()
    world.forge.shown = Posture(protected=False)
    case = await proposed(world)
    await world.merge(case, "anna")
    await world.settle_for(30)
    assert isinstance(world.case(case), Proposed)
    assert world.waiting(case) == "merged, but branch 'main': it is not protected"
    world.forge.shown = Posture(protected=True)
    await world.settle_for(30)
    assert isinstance(world.case(case), Approved | Closed) or "run" in modes(world)


async def test_high_risk_runs_only_on_a_signature(world: World):
    world = with_people(catalog=CATALOG.replace(b"risk: low", b"risk: high"))
    case = await proposed(world)
    assert "Risk high needs a signature" in world.forge.comments[1]
    text = approval_text("local", world.case(case).proposal)  # type: ignore[union-attr]
    pull = world.forge.pulls[1]
    # by another key, and over another text
    await world.forge.approve(1, pull.head_sha, "anna", "session", signature=FakeSignatures.sign(text, "bert-key"))
    await world.forge.approve(1, pull.head_sha, "bert", "session", signature=FakeSignatures.sign("x", "bert-key"))
    await world.settle_for(30)
    assert "needs an ssh signature" in world.waiting(case)
    sign = FakeSignatures.sign(text, "bert-key")
    await world.forge.approve_and_merge(1, pull.head_sha, "bert", "session", signature=sign)
    end = await closed(world, case)
    assert end.approval is not None and [one.person for one in end.approval.signatures] == ["anna", "bert"]
    assert modes(world) == ["check", "run"]


async def test_the_executor_verifies_the_signature_itself(world: World):
    world = with_people(catalog=CATALOG.replace(b"risk: low", b"risk: high"))
    case = await proposed(world)
    text = approval_text("local", world.case(case).proposal)  # type: ignore[union-attr]
    await world.locks.take("other", "other", ["host:web1"])
    sign = FakeSignatures.sign(text, "bert-key")
    await world.forge.approve_and_merge(1, world.forge.pulls[1].head_sha, "bert", "session", signature=sign)
    await world.settle_for(25)
    approved = world.case(case)
    assert isinstance(approved, Approved)
    forged = approved.approval.model_copy(
        update={"signatures": (approved.approval.signatures[0].model_copy(update={"text": "signed by nobody"}),)}
    )
    world.cases.rows[case].case = approved.model_copy(update={"approval": forged})
    # the forge is not asked by the executor: it says nothing of signatures any more
    reviews = tuple(one.model_copy(update={"signature": ""}) for one in world.forge.pulls[1].reviews)
    world.forge.pulls[1] = world.forge.pulls[1].model_copy(update={"reviews": reviews})
    await world.locks.free("other")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "signed")
    assert "run" not in modes(world)


async def waits_for_its_lock(world: World) -> str:
    case = await proposed(world)
    await world.locks.take("other", "other", ["host:web1"])
    await world.merge(case, "anna")
    await world.settle()
    world.clock.pass_seconds(3700)
    await world.locks.free("other")
    return case


async def test_an_old_dry_run_is_repeated_before_the_run(world: World):
    case = await waits_for_its_lock(world)
    end = await closed(world, case)
    assert modes(world) == ["check", "check", "run"]
    assert len(end.rehearsals) == 2


async def test_a_dry_run_that_says_something_else_voids_the_approval(world: World):
    case = await waits_for_its_lock(world)
    world.runner.changed = "do something else"
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.SUPERSEDED, "rehearsal")
    assert "run" not in modes(world)
    assert [one for one in open_cases(world) if isinstance(one, Proposed)]


async def test_a_bots_approval_counts_for_nothing(world: World):
    world = with_people()
    case = await proposed(world)
    pull = world.forge.pulls[1]
    bot = person_account("anna").model_copy(update={"is_bot": True})
    word = Review(by=bot, head_sha=pull.head_sha, verdict="approve", at=world.clock.now(), via="forge")
    world.forge.pulls[1] = pull.model_copy(update={"reviews": (word,)})
    await world.merge(case, "guest")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "quorum")


async def test_a_pull_request_that_an_admin_deleted_ends_when_its_time_is_over(world: World):
    case = await proposed(world)
    del world.forge.pulls[1]

    with pytest.raises(Refused):  # the worker says so, and comes back later
        await advance(world.case(case), world.ports)
    world.clock.pass_seconds(4 * 3600 + 1)
    ended = await advance(world.case(case), world.ports)
    assert (ended.kind, getattr(ended, "outcome", "")) == ("ended", Outcome.EXPIRED)
    closed_ = await advance(ended, world.ports)
    assert closed_.kind == "closed"
    assert any("could not be written" in subject for subject, *_ in world.notifier.told)


async def test_an_approved_run_does_not_wait_for_ever(world: World):
    """The forge is gone after the merge: no clearance comes, and the run expires like any other."""
    case = await proposed(world)
    await world.locks.take("other", "other", ["host:web1"])
    await world.merge(case, "anna")
    await world.settle()
    assert isinstance(world.case(case), Approved)
    world.clock.pass_seconds(4 * 3600 + 1)
    await world.locks.free("other")
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.EXPIRED, "in_time")
    assert modes(world) == ["check"]


async def test_what_nothing_could_propose_in_time_gives_its_slot_back(world: World, monkeypatch: pytest.MonkeyPatch):
    """A forge that refuses, or a place that is gone, keeps no slot for ever."""

    async def refuses(**_: object) -> object:
        raise Unavailable("the forge does not answer")

    monkeypatch.setattr(world.repo, "propose", refuses)
    case = world.fire(alert())
    await world.settle()
    assert world.case(case).kind == "rehearsed" and any(world.ledger.slots.values())
    world.clock.pass_seconds(4 * 3600 + 1)
    end = await closed(world, case)
    assert (end.outcome, end.reason) == (Outcome.EXPIRED, "in_time") and not any(world.ledger.slots.values())


async def test_a_branch_that_is_somebody_elses_ends_the_case(world: World, monkeypatch: pytest.MonkeyPatch):
    """Asked again it would be the same, for ever and with a slot held."""

    async def taken(opening: object) -> object:
        raise Conflict("opening a pull request: there is one already, by mallory")

    monkeypatch.setattr(world.forge, "open", taken)
    end = await closed(world, world.fire(alert()))
    assert (end.outcome, end.reason) == (Outcome.REFUSED, "taken")
    assert not any(world.ledger.slots.values())
