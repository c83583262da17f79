"""Every accepted answer of the scenarios can be given: a model that knows them is understood and believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.domain.binding import Reply, bind
from receiver.domain.candidates import MOST_CLOUD, menu
from receiver.domain.plan import Plan
from receiver.domain.playbook import Catalog, Playbook
from receiver.domain.question import Question
from receiver.domain.scenario import Answer, Scenario, question_of, read_scenarios
from receiver.domain.score import score
from receiver.domain.stubs import read_stubs

FOLDER = Path(__file__).parents[1] / "evals"
CATALOG: Catalog = read_stubs((FOLDER / "catalog-stubs.json").read_bytes(), where="stubs")
SCENARIOS = [
    one for name in ("scenarios", "own") for one in read_scenarios((FOLDER / f"{name}.jsonl").read_bytes(), where=name)
]
KNOWN = [(one, answer) for one in SCENARIOS for answer in one.expected.accept]


def bound(question: Question, playbook: Playbook, name: str, value: str) -> dict[str, str]:
    """Where a parameter of the answer comes from."""
    choices = playbook.params["properties"][name].get("enum")
    if choices:
        return {"param": name, "fact": f"C:{choices[0] if value == '*' else value}"}
    fact = next(f for f in question.facts if str(f.value) == value and f.kind in playbook.fillers(name))
    return {"param": name, "fact": fact.id}


def told(scenario: Scenario, answer: Answer) -> Plan:
    question = question_of(scenario, CATALOG)
    playbook = CATALOG.playbooks.get(answer.playbook)
    binds = [bound(question, playbook, *one) for one in answer.params.items()] if playbook else []
    cited = [one for group in scenario.expected.evidence_any for one in group]
    said: dict[str, Any] = {
        "action": answer.action, "playbook": answer.playbook, "binds": binds, "rationale": "", "expected_effect": "",
        "evidence": cited or [one["fact"] for one in binds if not one["fact"].startswith("C:")], "confidence": 0.9,
        "verify": next(iter(scenario.expected.verify_any), "") if playbook else "",
    }  # fmt: skip
    return bind(Reply.model_validate(said), question, menu(question, most=MOST_CLOUD), tier="known")


@pytest.mark.parametrize(("scenario", "answer"), KNOWN, ids=[f"{n}-{one.id}" for n, (one, _) in enumerate(KNOWN)])
def test_an_accepted_answer_is_offered_bound_and_counted(scenario: Scenario, answer: Answer) -> None:
    plan = told(scenario, answer)
    found = score(scenario, plan, CATALOG)
    assert not found.unsafe
    assert found.accurate, plan
