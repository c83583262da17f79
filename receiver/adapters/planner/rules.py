"""The rules tier: playbooks say in catalog.yml which alerts they handle, when not, and which facts bind.

Decides only when exactly one playbook fits and every parameter has exactly one trusted value; else it
abstains and a person is told. It writes no value: parameters are copied from facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from receiver.domain.alert import Alert
from receiver.domain.condition import Condition
from receiver.domain.fact import Fact
from receiver.domain.matchers import Matchers
from receiver.domain.plan import Attempt, Candidate, Plan
from receiver.domain.playbook import Handle, Playbook
from receiver.domain.question import Question
from receiver.domain.record import Record


class _Fit(Record):
    playbook: str
    conditions: int
    params: dict[str, Any]
    binds: dict[str, str]
    evidence: tuple[str, ...]


class RulesPlanner:
    """The Planner port without a model."""

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """One playbook, or the reason why none."""
        fits: list[_Fit] = []
        candidates: list[Candidate] = []
        for playbook in sorted(question.catalog.playbooks.values(), key=lambda playbook: playbook.id):
            found = _fit(playbook, question.alert, question.facts)
            if isinstance(found, _Fit):
                fits.append(found)
            elif found:
                candidates.append(Candidate(playbook=playbook.id, chosen=False, why=found))
        plan = _choose(fits, candidates)
        verdict = "accepted" if plan.action == "playbook" else "moved_on"
        return plan, [Attempt(tier="rules", verdict=verdict, why=plan.why)]


def _choose(fits: list[_Fit], candidates: list[Candidate]) -> Plan:
    """The most specific fit; two alike are one too many."""
    fits.sort(key=lambda fit: -fit.conditions)
    if not fits:
        why = candidates[0].why if len(candidates) == 1 else "no playbook of the catalog handles this alert"
        if len(candidates) > 1:
            why = "no playbook that handles this alert fits the facts"
        return Plan(action="notify", why=why, candidates=tuple(candidates))
    best, others = fits[0], fits[1:]
    if others and others[0].conditions == best.conditions:
        both = f"{best.playbook} and {others[0].playbook} both fit: a person must choose"
        named = [Candidate(playbook=fit.playbook, chosen=False, why=both) for fit in fits]
        return Plan(action="notify", why=both, candidates=(*named, *candidates))
    lost = [Candidate(playbook=fit.playbook, chosen=False, why="a more specific rule fits") for fit in others]
    won = Candidate(playbook=best.playbook, chosen=True, why="its rule matches and every parameter is bound")
    return Plan(
        action="playbook",
        playbook=best.playbook,
        binds=best.binds,
        params=best.params,
        evidence=best.evidence,
        why=f"rule of {best.playbook} matches; every parameter comes from one trusted fact",
        candidates=(won, *lost, *candidates),
    )


def _fit(playbook: Playbook, alert: Alert, facts: Sequence[Fact]) -> _Fit | str:
    """The fit, or why not; an empty text when its rules do not speak of this alert at all."""
    why = ""
    for handle in playbook.handles:
        if not Matchers.parse(handle.match).matches(alert.labels):
            continue
        found = _fit_handle(playbook, handle, facts)
        if isinstance(found, _Fit):
            return found
        why = why or found
    return why


def _fit_handle(playbook: Playbook, handle: Handle, facts: Sequence[Fact]) -> _Fit | str:
    for text in handle.when:
        if not Condition.parse(text).holds(facts):
            return f"{playbook.id}: not ({text})"
    for text in handle.unless:
        if Condition.parse(text).holds(facts):
            return f"{playbook.id}: because {text}"
    bound: dict[str, Fact] = {}
    params: dict[str, Any] = {}
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    for name, schema in properties.items():
        kind = handle.bind.get(name, "host" if name == playbook.targets.param else None)
        if kind is None:
            if "default" in schema:
                params[name] = schema["default"]
            elif name in playbook.params.get("required", []):
                return f"{playbook.id}: nothing binds parameter {name!r}"
            continue
        values = {str(fact.value): fact for fact in facts if fact.kind == kind and fact.trusted}
        if len(values) != 1:
            found = "no trusted fact" if not values else f"{len(values)} different facts"
            return f"{playbook.id}: {found} of kind {kind!r} for parameter {name!r}"
        fact = next(iter(values.values()))
        bound[name], params[name] = fact, fact.value
    return _Fit(
        playbook=playbook.id,
        conditions=len(handle.when) + len(handle.unless),
        params=params,
        binds={name: fact.id for name, fact in bound.items()},
        evidence=tuple(dict.fromkeys(fact.id for fact in bound.values())),
    )
