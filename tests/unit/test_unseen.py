"""What the dry run could not show takes one more pair of eyes, and is said."""

from __future__ import annotations

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.case import Proposed
from receiver.domain.outcome import Outcome
from receiver.testing import World
from tests.unit.test_pipeline import FILES, POLICY, closed, proposed

pytestmark = pytest.mark.anyio
TWO = POLICY.replace(b"approvals: {solo: anna}\n", b"").replace(
    b"  - {name: guest", b"  - {name: ben, os: [ben], session: [ben], approves: medium}\n  - {name: guest"
)


@pytest.mark.parametrize(
    ("ends", "approvals", "outcome"),
    [
        ((), ("anna",), Outcome.NOT_FIXED),
        (("web1: Write",), ("anna",), Outcome.REFUSED),
        (("web1: Write",), ("ben", "anna"), Outcome.NOT_FIXED),
    ],
)
async def test_a_dry_run_that_could_not_go_on_takes_one_more_approval(
    ends: tuple[str, ...], approvals: tuple[str, ...], outcome: Outcome
) -> None:
    world = World({**FILES, "policy.yml": TWO}, RulesPlanner())
    world.runner.preview_ends = ends
    case = await proposed(world)
    found = world.case(case)
    assert isinstance(found, Proposed)
    asked = "one more, since the dry run could not go on at web1: Write"
    assert (asked in world.waiting(case)) is bool(ends)
    for person in approvals[:-1]:
        await world.forge.approve(found.proposal.number, found.proposal.head_sha, person, "session")
    await world.merge(case, approvals[-1])
    end = await closed(world, case)
    assert end.outcome is outcome, end.why
    assert outcome is not Outcome.REFUSED or (end.reason == "quorum" and asked in end.why)
