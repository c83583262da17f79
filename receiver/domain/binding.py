"""A model's answer, bound to facts by code: ids in, values out (promise P4).

Decides what an answer means. Refuses ids that were not offered, facts of a foreign kind or that nobody vouches for,
things that the alert is not about, and every value that could be an option or a template. The reasons are words of
ours, so that a model can be told them and try once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.holds import Scene, passes_alone
from receiver.domain.outcome import Risk
from receiver.domain.plan import Action, Candidate, Plan
from receiver.domain.playbook import Playbook, check_params
from receiver.domain.question import Question
from receiver.domain.untrusted import prose, tame
from receiver.errors import Invalid

if TYPE_CHECKING:
    from receiver.domain.candidates import Menu

#: kinds of things that an alert can be about; the others are parts of one
ENTITY_KINDS = frozenset({"host", "node", "guest", "container", "device"})
#: of these the inventory's name is the only one
_NAMED = frozenset({"host", "node"})
_MOST_IDS = 40


class _Flat(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bind(_Flat):
    """One parameter, and where its value comes from."""

    param: str = Field(max_length=64, description="name of a parameter of the chosen playbook")
    fact: str = Field(max_length=128, description="id of a trusted fact of the parameter's kind, or C:<choice>")


class Reply(_Flat):
    """What a model may say: ids, and two sentences of prose. All of it is required, nothing is a value."""

    action: Literal["playbook", "diagnose", "notify", "none"] = Field(description="what to do")
    playbook: str = Field(max_length=128, description="id of an offered playbook; empty for another action")
    binds: list[Bind] = Field(max_length=_MOST_IDS, description="one for each required parameter; else empty")
    evidence: list[str] = Field(max_length=_MOST_IDS, description="ids of the facts that decided it")
    verify: str = Field(max_length=128, description="id of the offer that would show the effect; else empty")
    rationale: str = Field(max_length=4000, description="why, in at most two sentences")
    expected_effect: str = Field(max_length=4000, description="what will be different afterwards, in one sentence")
    confidence: float = Field(ge=0, le=1, description="how sure, from 0 to 1")

    @field_validator("confidence", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Unbound(Exception):
    """The answer cannot be believed; `reasons` are sentences of ours."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


def bind(reply: Reply, question: Question, menu: Menu, *, tier: str) -> Plan:
    """The plan that the answer means; raises `Unbound` with every reason why it means none."""
    reasons = _unknown_facts(reply, question)
    playbook = menu.get(reply.playbook) if reply.action == "playbook" else None
    if reply.action == "playbook" and playbook is None:
        reasons.append(f"playbook {tame(reply.playbook, 60)!r} was not offered")
    reasons += _foreign_offer(reply, question, playbook)
    binds: dict[str, str] = {}
    params: dict[str, Any] = {}
    if playbook is not None:
        binds, params, wrong = _bound(reply, question, playbook)
        reasons += wrong
    if reasons:
        raise Unbound(reasons)
    return _plan(reply, question, menu, playbook, binds, params, tier)


def bindable(question: Question, playbook: Playbook, param: str) -> tuple[Fact, ...]:
    """The facts that may fill a parameter that names a thing."""
    kinds = playbook.fillers(param)
    found = [fact for fact in question.facts if fact.kind in kinds and fact.trusted and isinstance(fact.value, str)]
    return tuple(fact for fact in found if _is_own(question, playbook, param, fact))


def _is_own(question: Question, playbook: Playbook, param: str, fact: Fact) -> bool:
    """Whether the alert is about this thing, or about what depends on it where the playbook says so.

    A question without an entity is an evaluation: the guard lets none of its plans through.
    """
    entity, kind = question.entity, playbook.kinds[param]
    if entity is None or playbook.scope == "any" or kind not in ENTITY_KINDS:
        return True
    if fact.value in _names(entity, playbook):
        return True
    if kind in _NAMED:
        return False
    # a part of the entity: the only one that is known, or the one that the alert names
    kinds = playbook.fillers(param)
    values = {one.value for one in question.facts if one.kind in kinds and one.trusted}
    return len(values) == 1 or fact.value in question.alert.labels.values()


def _is_settled(question: Question) -> bool:
    """Whether the rules, too, say that nothing has to be done: a model alone talks no critical alert away."""
    playbooks = frozenset(question.catalog.playbooks)
    return passes_alone(Scene(alert=question.alert, facts=question.facts, playbooks=playbooks))


def _names(entity: Entity, playbook: Playbook) -> set[str]:
    own = {entity.name, entity.host}
    if playbook.scope == "dependency":
        own |= {*entity.depends_on, *([entity.node] if entity.node else [])}
    return own


def _unknown_facts(reply: Reply, question: Question) -> list[str]:
    known = {fact.id for fact in question.facts}
    return [f"there is no fact {tame(id, 40)!r}" for id in dict.fromkeys(reply.evidence) if id not in known]


def _foreign_offer(reply: Reply, question: Question, playbook: Playbook | None) -> list[str]:
    """`verify` is the id of an offer, and not of another playbook's query."""
    if not reply.verify and playbook is None:
        return []
    if reply.verify not in {offer.id for offer in question.offers}:
        return [f"verify {tame(reply.verify, 40)!r} was not offered"]
    owner = reply.verify.partition(".")[0]
    if playbook is not None and owner in question.catalog.playbooks and owner != playbook.id:
        return [f"verify {reply.verify!r} belongs to another playbook"]
    return []


def _bound(reply: Reply, question: Question, playbook: Playbook) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Parameter → fact id, parameter → value, and what is wrong."""
    binds: dict[str, str] = {}
    params: dict[str, Any] = {}
    wrong: list[str] = []
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    for one in reply.binds:
        if one.param not in properties:
            wrong.append(f"{playbook.id} has no parameter {tame(one.param, 40)!r}")
        elif one.param in params:
            wrong.append(f"parameter {one.param!r} is bound twice")
        else:
            found = _value(one, question, playbook, properties[one.param])
            if isinstance(found, Invalid):
                wrong.append(found.message)
                continue
            params[one.param] = found
            if one.param in playbook.kinds:
                binds[one.param] = one.fact
    for name, schema in properties.items():
        if name not in params and "default" in schema:
            params[name] = schema["default"]
    missing = [name for name in playbook.params.get("required", ()) if name not in params]
    wrong += [f"parameter {name!r} is not bound" for name in missing]
    if not wrong:
        try:
            check_params(playbook, params)
        except Invalid as error:
            wrong.append(error.message)
    return binds, params, wrong


def _value(one: Bind, question: Question, playbook: Playbook, schema: dict[str, Any]) -> Any:
    """The fact's value, or the offered choice; `Invalid` when it is neither."""
    kind = playbook.kinds.get(one.param)
    if kind is None:
        choices = {f"C:{choice}": choice for choice in (*schema.get("enum", ()), *_default(schema))}
        if one.fact not in choices:
            return Invalid(f"parameter {one.param!r} takes one of {', '.join(choices)}"[:200])
        return choices[one.fact]
    fact = next((fact for fact in question.facts if fact.id == one.fact), None)
    if fact is None:
        return Invalid(f"there is no fact {tame(one.fact, 40)!r}")
    if fact.kind not in playbook.fillers(one.param):
        return Invalid(f"parameter {one.param!r} is of kind {kind!r}, fact {fact.id!r} of kind {tame(fact.kind, 40)!r}")
    if not fact.trusted:
        return Invalid(f"nobody vouches for fact {fact.id!r}: bind {one.param!r} to a trusted one")
    if fact not in bindable(question, playbook, one.param):
        return Invalid(f"fact {fact.id!r} is not what the alert is about")
    return fact.value


def _default(schema: dict[str, Any]) -> tuple[Any, ...]:
    return (schema["default"],) if "default" in schema else ()


def _plan(
    reply: Reply,
    question: Question,
    menu: Menu,
    playbook: Playbook | None,
    binds: dict[str, str],
    params: dict[str, Any],
    tier: str,
) -> Plan:
    evidence = tuple(dict.fromkeys(reply.evidence))
    vouched = any(fact.trusted for fact in question.facts if fact.id in evidence)
    action: Action = reply.action
    why = _WHY[action].format(tier=tier)
    if playbook is not None:
        why = f"tier {tier} chose {playbook.id}; every parameter comes from one trusted fact or an offered choice"
        if not vouched and playbook.risk is not Risk.LOW:
            action, why = "notify", f"tier {tier} chose {playbook.id} (risk {playbook.risk}) without a trusted fact"
    elif action == "none" and question.alert.severity_rank == 0 and not _is_settled(question):
        action, why = "notify", f"tier {tier} would do nothing; somebody hears of a critical alert all the same"
    taken = playbook is not None and action == "playbook"
    others = [
        Candidate(playbook=one.id, chosen=False, why=f"offered; tier {tier} did not choose it")
        for one in menu.offered
        if playbook is None or one.id != playbook.id
    ]
    named = [Candidate(playbook=playbook.id, chosen=taken, why=why)] if playbook is not None else []
    return Plan(
        action=action,
        playbook=playbook.id if playbook is not None and taken else None,
        binds=binds if taken else {},
        params=params if taken else {},
        evidence=evidence,
        verify=reply.verify or None,
        why=why,
        rationale=prose(reply.rationale),
        expected_effect=prose(reply.expected_effect),
        confidence=reply.confidence,
        tier=tier,
        candidates=(*named, *others, *menu.left_out),
    )


_WHY: dict[str, str] = {
    "playbook": "",
    "diagnose": "tier {tier} would look closer before anything is changed",
    "notify": "tier {tier} leaves it to a person",
    "none": "tier {tier} finds nothing to do",
}
