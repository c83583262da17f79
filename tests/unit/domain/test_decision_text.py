"""Who decided, on what, for how much: on the proposal, on the page and at the terminal; a model's words last."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.cli.cases import _print
from receiver.domain.history import Track
from receiver.domain.plan import Attempt, Candidate, Plan
from receiver.domain.pulltext import proposal_body
from receiver.testing import World
from receiver.web.pages.render import fragment
from tests.unit.test_pipeline import FILES, alert

pytestmark = pytest.mark.anyio
PLAN = Plan(
    action="playbook", playbook="web_restart", params={"host": "web1", "service": "web"}, binds={"host": "f1"},
    evidence=("f1",), verify="alert", why="tier fast chose web_restart", tier="fast", confidence=0.97,
    rationale="It was killed. ```\n# @all https://evil.example", expected_effect="It answers.",
    candidates=(Candidate(playbook="web_stop", chosen=False, why="offered; tier fast did not choose it"),),
)  # fmt: skip
ATTEMPTS = [
    Attempt(tier="local", model="m", verdict="moved_on", reason="timeout", why="no answer within 8 s", requests=1),
    Attempt(tier="fast", model="h", verdict="accepted", why="its answer was bound to facts", prompt="0123456789ab",
            requests=1, seconds=0.8, tokens_in=3000, tokens_out=200, cost_usd=0.0004),
]  # fmt: skip


class Fixed:
    """A planner that says this."""

    async def plan(self, question: Any) -> Any:
        return PLAN, ATTEMPTS


async def proposed() -> tuple[World, Any]:
    world = World(FILES, Fixed())
    case = world.case(world.fire(alert()))
    await world.settle()
    return world, world.case(case.id)


async def test_the_proposal_says_who_decided_and_ends_with_plain_words() -> None:
    world, case = await proposed()
    body = world.forge.bodies[case.proposal.number]
    before, words = body.split("In the model's own words, which nobody has checked:")
    assert "Decided by tier `fast` for 0.0004 USD; facts cited: `f1`." in before
    assert words == "\n\n```\nIt was killed. all\nIt answers.\n```"
    assert "0.97" not in body
    assert proposal_body(case, (await world.repo.revision(case.revision)).catalog.playbooks["web_restart"])


async def test_a_plan_of_the_rules_has_no_such_lines() -> None:
    world, case = await proposed()
    plain = case.model_copy(update={"plan": PLAN.model_copy(update={"tier": "", "rationale": ""})})
    assert "Decided by" not in proposal_body(
        plain, (await world.repo.revision(case.revision)).catalog.playbooks["web_restart"]
    )


async def test_the_page_and_the_terminal_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    _, case = await proposed()
    body = case.model_dump(mode="json")
    body["track"] = {"said": Track(fixed=3, not_fixed=1).said}
    page = fragment("case/plan.html", case={**body, "policy": [], "approval": None}, playbook=None)
    for said in (
        "<strong>fast</strong> for 0.0004 USD", 'href="#fact-f1"', "no answer within 8 s", "prompt 0123456789ab",
        "(timeout)", "web_stop", "In the model's own words", "Track record: fixed this alert in 3 of 4 runs before.",
    ):  # fmt: skip
        assert said in page, said
    assert "0.97" not in page
    _print({**body, "id": "c", "state": "proposed", "proposal": None, "run": None, "verification": None})
    told = capsys.readouterr().out
    for said in (
        "fast, 0.0004 USD, facts cited: f1",
        "moved on: no answer within 8 s",
        "web_stop: offered",
        "not checked",
        "fixed this alert in 3 of 4 runs",
    ):
        assert said in told, said
