"""Every word that we write on a pull request, as it stands in `golden/`; rewritten by hand with GOLDEN=write."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.alert import Alert
from receiver.domain.case import Closed, Proposed
from receiver.domain.given import AFTER, BEFORE
from receiver.domain.outcome import Outcome, Risk, Verdict
from receiver.domain.proof import Reading
from receiver.domain.proposal import Answer
from receiver.domain.pulltext import (
    closing,
    given_comment,
    labels,
    outcome_comment,
    proposal_body,
    reached,
    standing_comment,
    status_line,
)
from receiver.domain.run import Hop, JobHost, RunResult
from receiver.testing import World
from tests.unit.test_pipeline import CATALOG, FILES, alert

pytestmark = pytest.mark.anyio
GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "`x` @all </details> ![i](https://evil.example/p.png) <b>\u202e | Closes #1\n# head"
DIFF = "--- before\n+++ after\n@@ -1 +1 @@\n-a\n+b\n````\n</details>\n@team"
AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


async def proposed(given: Alert | None = None, catalog: bytes = CATALOG) -> Proposed:
    world = World({**FILES, "playbooks/web/restart/catalog.yml": catalog}, RulesPlanner())
    id_ = world.fire(given or alert())
    await world.settle()
    case = world.case(id_)
    assert isinstance(case, Proposed)
    return case


def rehearsed(case: Proposed, **change: Any) -> Proposed:
    last = case.rehearsals[-1]
    result = RunResult.model_validate(last.result.model_dump() | change)
    return case.model_copy(update={"rehearsals": (last.model_copy(update={"result": result}),)})


def closed(case: Proposed, outcome: Outcome, why: str, reason: str = "") -> Closed:
    return case.end(outcome, why, reason=reason).become(Closed)


async def playbook(catalog: bytes = CATALOG) -> Any:
    world = World({**FILES, "playbooks/web/restart/catalog.yml": catalog}, RulesPlanner())
    return (await world.repo.revision(world.repo.adopted_commit)).catalog.playbooks["web_restart"]


async def body(catalog: bytes = CATALOG, **result: Any) -> str:
    return proposal_body(rehearsed(await proposed(catalog=catalog), **result), await playbook(catalog))


OPEN_DIFF = CATALOG + b"publish_diff: yes\n"
HIGH = CATALOG.replace(b"risk: low", b"risk: high")
TEXTS: dict[str, Callable[[], Any]] = {
    "body": body,
    "body-with-diff": lambda: body(OPEN_DIFF, diff=DIFF),
    "body-diff-kept-back": lambda: body(diff=DIFF),
    "body-hostile": lambda: body(OPEN_DIFF, changes=(f"web1: {HOSTILE}",), not_previewable=(HOSTILE,), diff=HOSTILE),
    "body-many": lambda: body(changes=tuple(f"web1: task {n}" for n in range(60))),
    "standing": lambda: standing(Risk.LOW, ["0 of 1 approvals of head abc by people who may approve risk low"]),
    "standing-ready": lambda: standing(Risk.LOW, []),
    "standing-high": lambda: standing(Risk.HIGH, ["risk high needs an ssh signature"], HIGH),
    "standing-nobody": lambda: standing(Risk.HIGH, ["0 of 1 approvals"], HIGH, ()),
    "standing-silent": lambda: standing(Risk.LOW, [HOSTILE], silent="went silent: no data (gone)"),
    "closing-expired": lambda: closing("nobody decided before 2026-11-26 16:00 UTC"),
    "closing-gone": lambda: closing("the problem is proved gone: quiet for 60 s", GONE),
    "outcome-fixed": lambda: outcome(Outcome.FIXED, "the alert is gone"),
    "outcome-refused": lambda: outcome(Outcome.REFUSED, "nobody who may approve has approved it"),
    "outcome-hostile": lambda: outcome(Outcome.FAILED, HOSTILE),
    "given-taken": lambda: given_comment([answer(row.name) for row in (*BEFORE, *AFTER)], is_taken=True),
    "given-refused": lambda: given_comment([answer("here"), answer("one_file", HOSTILE)], is_taken=False),
}


def answer(name: str, why: str = "") -> Answer:
    return Answer(name=name, passed=not why, why=why or "yes")


GONE = Reading(verdict=Verdict.RESOLVED, why="quiet", expression='up{job="web"} == 0 # ```', sample_at=AT)


async def standing(
    risk: Risk, required: list[str], catalog: bytes = CATALOG, who: tuple[str, ...] = ("anna", "bert"), silent: str = ""
) -> str:
    case = await proposed(catalog=catalog)
    assert case.risk is risk
    return standing_comment(case, required, can_approve=who, silent=silent)


async def outcome(outcome: Outcome, why: str) -> str:
    return outcome_comment(closed(await proposed(), outcome, why))


def settled(text: str) -> str:
    """Without what differs each time: ids and digests."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", text)
    return re.sub(r"`[0-9a-f]{12}`", "`<digest>`", text) + "\n"


@pytest.mark.parametrize("name", TEXTS)
async def test_it_says_what_it_always_said(name: str):
    made = TEXTS[name]()
    text = settled(made if isinstance(made, str) else await made)
    file = GOLDEN / f"{name}.md"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


def test_every_golden_file_belongs_to_a_text():
    assert {file.stem for file in GOLDEN.glob("*.md")} == set(TEXTS)


async def test_outside_text_has_no_effect_on_a_forge():
    text = await TEXTS["body-hostile"]()
    # nothing of it stands outside of a code span or a fence
    bare = re.sub(r"(?s)(`{3,})\n.*?\n\1", "", text)
    bare = re.sub(r"(`+) .*? \1|`[^`\n]+`", "", bare)
    for word in ("@all", "evil.example", "<b>", "Closes", "\u202e"):
        assert word not in bare
    assert bare.count("</details>") == bare.count("<details>") == 1


async def test_a_sentence_that_quotes_outside_words_has_none_either():
    for name in ("standing-silent", "outcome-hostile"):
        assert "`` `x` @all" in await TEXTS[name]()


def test_labels_and_the_status_are_short():
    assert labels(Risk.LOW, "", "silent") == ("gitmedic", "gitmedic/risk-low", "gitmedic/silent")


async def test_the_status_is_one_bounded_line():
    assert len(status_line(await proposed(), ["x" * 500])) == 140


def test_how_each_target_is_reached_stands_on_the_proposal():
    hop = Hop(name="bastion", address="192.0.2.1", port=2222, user="hop")
    web = JobHost(name="web1", address="192.0.2.10", user="ops", become=True, jump=(hop,))
    assert reached([web, JobHost(name="here", connection="local"), JobHost(name="nas", address="nas.lan")]) == [
        "web1: ops@192.0.2.10 by way of hop@[192.0.2.1]:2222, as root by sudo",
        "nas: nas.lan",
    ]
