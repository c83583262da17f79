"""The rules tier: holds first, then playbooks that say in catalog.yml which alerts they handle and when.

Decides only when exactly one playbook fits best and every parameter has exactly one trusted value; else it
abstains: `diagnose` when nothing was observed that could decide, `notify` when a person must. It writes no value:
parameters are copied from facts, and what an outsider can set (labels, annotations, logs) argues for no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from receiver.domain import phrases, wording
from receiver.domain.condition import ANY, PATTERNS, Condition, text_of
from receiver.domain.fact import Fact
from receiver.domain.holds import Scene, first_hold
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Risk
from receiver.domain.pick import Pick
from receiver.domain.plan import Attempt, Candidate, Offer, Plan
from receiver.domain.playbook import Handle, Playbook
from receiver.domain.question import Question
from receiver.domain.record import Record

TIER = "rules"
#: kinds that say nothing of a thing's state now
_NOT_SEEN = ("alert.", "host.", "unread", "history.")
#: observed facts that an answer without a playbook cites
MOST_CITED = 12
#: characters of a condition in a reason
MOST_SHOWN = 120


class _Fit(Record):
    playbook: str
    handle: Handle
    conditions: int
    params: dict[str, Any]
    binds: dict[str, str]
    evidence: tuple[str, ...]


class RulesPlanner:
    """The Planner port without a model."""

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """One playbook, or the reason why none."""
        plan = decide(question)
        verdict: Literal["accepted", "moved_on"] = "accepted" if plan.action in ("playbook", "none") else "moved_on"
        return plan, [Attempt(tier=TIER, verdict=verdict, why=plan.why)]


def decide(question: Question) -> Plan:
    """What the rules say; asks nobody."""
    verify = _verify(question.offers)
    seen = _without_names(question)
    scene = Scene(alert=question.alert, facts=seen, playbooks=frozenset(question.catalog.playbooks))
    found = first_hold(scene)
    if found is not None:
        hold, held = found
        cited = tuple(fact.id for fact in held.facts)
        why = f"{hold.name}: {held.why}"
        return Plan(action=hold.action, why=why, evidence=cited, verify=verify, tier=TIER)
    fits: list[_Fit] = []
    candidates: list[Candidate] = []
    for playbook in sorted(question.catalog.playbooks.values(), key=lambda playbook: playbook.id):
        fit = _fit(playbook, question, seen)
        if isinstance(fit, _Fit):
            fits.append(fit)
        elif fit:
            candidates.append(Candidate(playbook=playbook.id, chosen=False, why=fit))
    observed = _observed(seen)
    plan = _choose(fits, candidates, observed)
    if plan.action != "playbook":
        plan = plan.model_copy(update={"evidence": tuple(fact.id for fact in observed[:MOST_CITED])})
    offered = {offer.id for offer in question.offers}
    own = [one.id for one in question.offers if one.id.startswith(f"{plan.playbook}.")]
    best = "alert" if "alert" in offered else (own[0] if own else verify)
    return plan.model_copy(update={"verify": best, "tier": TIER})


def _verify(offers: Sequence[Offer]) -> str | None:
    """The alert's own expression, else the first offer."""
    return next((offer.id for offer in offers if offer.id == "alert"), offers[0].id if offers else None)


def _without_names(question: Question) -> tuple[Fact, ...]:
    """The facts, where what names a thing keeps only its note: a host called `failed` did not fail."""
    kinds = {"host"}
    for playbook in question.catalog.playbooks.values():
        kinds |= {*playbook.kinds.values(), *_bound_kinds(playbook)}
    return tuple(
        fact.model_copy(update={"value": ""}) if fact.kind in kinds and " " not in str(fact.value) else fact
        for fact in question.facts
    )


def _bound_kinds(playbook: Playbook) -> set[str]:
    return {Pick.parse(text).kind for handle in playbook.handles for text in handle.bind.values()}


def _observed(facts: Sequence[Fact]) -> list[Fact]:
    """What is known of the state of things."""
    return [
        fact
        for fact in facts
        if fact.trusted and not fact.kind.startswith(_NOT_SEEN) and (fact.note or fact.value != "")
    ]


def _choose(fits: list[_Fit], candidates: list[Candidate], observed: Sequence[Fact]) -> Plan:
    """The most specific fit; two alike are one too many."""
    fits.sort(key=lambda fit: -fit.conditions)
    if not fits:
        return _abstain(candidates, is_blind=not observed)
    best, others = fits[0], fits[1:]
    doubts = doubtful(best.handle, observed)
    if doubts:
        why = f"{best.playbook} fits, but facts {', '.join(doubts)} tell of trouble that its rule does not explain"
        said = Candidate(playbook=best.playbook, chosen=False, why=why)
        return Plan(action="notify", why=why, candidates=(said, *candidates))
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


def doubtful(handle: Handle, observed: Sequence[Fact]) -> tuple[str, ...]:
    """Facts with a sign of trouble in a clause of which no condition of the rule speaks."""
    asked = [Condition.parse(text) for text in handle.when]
    explained = [one.value for one in asked if one.operator in PATTERNS]
    found = []
    for fact in observed:
        for clause in wording.clauses(text_of(fact)):
            is_known = any(wording.has(clause, one) for one in explained)
            if wording.says(clause, phrases.BUSY) or (not is_known and wording.says(clause, phrases.TROUBLE)):
                found.append(fact.id)
                break
    return tuple(found)


def _abstain(candidates: list[Candidate], *, is_blind: bool) -> Plan:
    if not candidates:
        return Plan(action="notify", why="no playbook of the catalog handles this alert")
    needs = [candidate for candidate in candidates if ": not (" in candidate.why]
    why = candidates[0].why if len(candidates) == 1 else "no playbook that handles this alert fits the facts"
    if is_blind and len(needs) == len(candidates):
        why = "nothing was observed that could decide: it should be looked at first"
        return Plan(action="diagnose", why=why, candidates=tuple(candidates))
    return Plan(action="notify", why=why, candidates=tuple(candidates))


def _fit(playbook: Playbook, question: Question, seen: Sequence[Fact]) -> _Fit | str:
    """The fit, or why not; an empty text when its rules do not speak of this alert at all."""
    why = ""
    for handle in playbook.handles:
        if not Matchers.parse(handle.match).matches(question.alert.labels):
            continue
        if playbook.risk == Risk.CRITICAL:
            return f"{playbook.id}: a critical playbook is never chosen by a machine"
        found = _fit_handle(playbook, handle, question, seen)
        if isinstance(found, _Fit):
            return found
        why = why or found
    return why


def _fit_handle(playbook: Playbook, handle: Handle, question: Question, seen: Sequence[Fact]) -> _Fit | str:
    facts = question.facts
    argues = [fact for fact in facts if fact.trusted or fact.kind.startswith("alert.")]
    cited: list[str] = []
    for text in handle.when:
        condition = Condition.parse(text)
        found = condition.found(seen if condition.kind == ANY else argues)
        if found is None:
            return f"{playbook.id}: not ({_short(text)})"
        cited += [fact.id for fact in found]
    for text in handle.unless:
        condition = Condition.parse(text)
        if condition.holds(seen if condition.kind == ANY else facts):
            return f"{playbook.id}: because {_short(text)}"
    bound: dict[str, Fact] = {}
    params: dict[str, Any] = {}
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    for name, schema in properties.items():
        rule = _rule(playbook, handle, name, schema)
        if rule is None:
            if "default" in schema:
                params[name] = schema["default"]
            elif name in playbook.params.get("required", []):
                return f"{playbook.id}: nothing binds parameter {name!r}"
            continue
        fact = Pick.parse(rule).choose(facts, question.entity, question.alert.labels)
        if isinstance(fact, str):
            return f"{playbook.id}: {fact} of kind {Pick.parse(rule).kind!r} for parameter {name!r}"
        bound[name], params[name] = fact, fact.value
    return _Fit(
        playbook=playbook.id,
        handle=handle,
        conditions=len(handle.when),
        params=params,
        binds={name: fact.id for name, fact in bound.items()},
        evidence=tuple(dict.fromkeys([*cited, *(fact.id for fact in bound.values())])),
    )


def _short(text: str) -> str:
    """A condition for people; a long pattern is cut."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _rule(playbook: Playbook, handle: Handle, name: str, schema: dict[str, Any]) -> str | None:
    """Which fact fills a parameter: as the handle says, else the one of its own kind where it must be filled."""
    if name in handle.bind:
        return handle.bind[name]
    if name == playbook.targets.param:
        return str(schema.get("x-kind", "host"))
    is_needed = name in playbook.params.get("required", []) and "default" not in schema
    return str(schema["x-kind"]) if is_needed and "x-kind" in schema else None
