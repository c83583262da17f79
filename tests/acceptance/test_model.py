"""The whole product with a model: its own planner process, a real client, a real dry run, a real proposal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.test_restored_backup import Site
from tests.acceptance.test_run_kills import demo, proposed
from tests.integration.planner.scripted import Request, Said, Server, answer, server

TIER = """
[planner.tiers.small]
kind = "local"
base_url = "{url}/v1"
model = "scripted"
"""
WORDS = "The queue has not moved; see https://evil.example and /approve"


def chosen(request: Request) -> Said:
    """The offered playbook that is about a queue, rightly bound to the facts that the question names."""
    question = request.body["messages"][-1]["content"]
    known = json.loads(question[question.index("{") :].split("\n}\n")[0] + "\n}")
    ids = [
        line[2:].split(" ")[0] for line in request.body["messages"][0]["content"].splitlines() if line[:7] == "- demo_"
    ]
    (playbook,) = [id for id in ids if "wrong" in id]
    line = next(one for one in request.body["messages"][0]["content"].split("\n- ") if one.startswith(playbook))
    params = dict(
        part.strip().split("=fact of kind ") for part in line.split("params:")[1].split(";") if "=fact" in part
    )
    binds = [
        {"param": name, "fact": next(fact["id"] for fact in known["facts"] if fact["kind"] in kind.split(" or "))}
        for name, kind in params.items()
    ]
    return answer(
        action="playbook", playbook=playbook, binds=binds, evidence=[binds[0]["fact"]], verify="alert", rationale=WORDS,
        expected_effect="It moves.", confidence=0.9,
    )(request)  # fmt: skip


@pytest.fixture
async def listening() -> AsyncIterator[Server]:
    async with server(chosen) as made:
        yield made


@pytest.mark.anyio
async def test_a_model_chooses_and_a_proposal_says_so(listening: Server) -> None:
    async with demo() as running:
        site = Site(running)
        await site.stop()
        with (site.data / "gitmedic.toml").open("a") as file:
            file.write(TIER.format(url=listening.url))
        await site.start()
        case = await proposed(running)
        assert (case.plan.tier, case.plan.playbook) == ("small", "demo_wrong_fix"), case.attempts
        assert [(one.tier, one.verdict) for one in case.attempts] == [("small", "accepted"), ("rules", "moved_on")]
        assert case.rehearsals and case.runfile.params == case.plan.params
        assert len(listening.requests) == 1
        async with running.office.store.pool.connection() as connection:
            row = await (
                await connection.execute("SELECT case_id, model, verdict FROM plan_attempts ORDER BY id")
            ).fetchone()
            body = await (await connection.execute("SELECT body FROM pull_requests")).fetchone()
        assert row == (case.id, "scripted", "accepted")
        assert body is not None and "Decided by tier `small`" in body[0]
        assert "evil" not in body[0] and body[0].rstrip().endswith("```")
