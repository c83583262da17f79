"""A planning scenario: an alert, the facts that were there, and what would have been right.

One JSON object a line: `{id, domain, kind, tags, alert, facts, verify, expected, why}`; `alert` is a webhook payload
of version 4. Decides what a planner would be asked. Every bad line is named with its number and the reason; a file
with one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import re2
from pydantic import Field, ValidationError

from receiver.domain.alert import Alert, read_delivery
from receiver.domain.condition import text_of
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import Host, Inventory
from receiver.domain.outcome import Mode, Risk
from receiver.domain.pick import bare
from receiver.domain.plan import Action, Offer
from receiver.domain.playbook import Catalog
from receiver.domain.policyfile import Policy, Rule
from receiver.domain.proof import Confirmation
from receiver.domain.question import Question
from receiver.domain.record import Record
from receiver.domain.revision import Revision
from receiver.errors import Invalid

Kind = Literal["remediate", "diagnose", "hold", "adversarial"]
KINDS: tuple[Kind, ...] = ("remediate", "diagnose", "hold", "adversarial")
#: any offered choice
WILDCARD = "*"
#: kinds of fact that name a thing an alert can be about
_THINGS = ("host", "device", "node", "guest", "container")
_MOST_BYTES = 64 << 20
_MOST_NAMED = 20


class Answer(Record):
    """One decision: what to do, with which playbook and which values."""

    action: Action
    playbook: str = ""
    params: dict[str, str | int | float | bool] = {}


class Expected(Record):
    """What is right. An empty `accept` means: anything that is not rejected."""

    accept: tuple[Answer, ...] = ()
    ok_also: tuple[Answer, ...] = ()
    reject_playbooks: tuple[str, ...] = ()
    evidence_any: tuple[tuple[str, ...], ...] = ()  #: of each group at least one fact must be cited
    verify_any: tuple[str, ...] = ()
    forbid_text: tuple[str, ...] = ()


class StatedFact(Record):
    """A fact as a scenario writes it."""

    id: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    value: str | int | float | bool | None
    unit: str = ""
    source: str = ""
    trusted: bool
    note: str = ""


class Scenario(Record):
    """One line."""

    id: str = Field(min_length=1)
    kind: Kind
    alert: dict[str, Any]
    facts: tuple[StatedFact, ...] = ()
    verify: tuple[Offer, ...] = ()
    expected: Expected
    domain: str = ""
    tags: tuple[str, ...] = ()
    split: str = ""
    why: str = ""


def read_scenarios(content: bytes, *, where: str) -> tuple[Scenario, ...]:
    """All scenarios of a file; raises `Invalid` that names every bad line (the first twenty of them)."""
    if len(content) > _MOST_BYTES:
        raise Invalid(f"{len(content)} bytes, more than {_MOST_BYTES}", where=where)
    found: list[Scenario] = []
    bad: list[str] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            scenario = _read_line(raw)
            if scenario.id in seen:
                raise ValueError(f"the id {scenario.id!r} stands on line {seen[scenario.id]} too")
        except ValueError as error:
            bad.append(f"line {number}: {str(error)[:200]}")
            continue
        seen[scenario.id] = number
        found.append(scenario)
    if bad:
        more = f"; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise Invalid(
            "; ".join(bad[:_MOST_NAMED]) + more, where=where, next_step="docs/howto/evaluate.md has the format"
        )
    if not found:
        raise Invalid("no scenario in it", where=where, next_step="docs/howto/evaluate.md has the format")
    return tuple(found)


#: what a policy would not let pass is no question of an evaluation; no model is offered what is critical all the same
_EVERY_RISK = Rule(name="evaluation", max_risk=Risk.HIGH)


def question_of(scenario: Scenario, catalog: Catalog) -> Question:
    """What a planner is asked about it."""
    alert = _alert(scenario.alert)
    facts = tuple(_fact(fact, alert.starts_at) for fact in scenario.facts)
    firing = alert.status == "firing"
    entity = entity_in(alert, facts)
    names = {str(fact.value) for fact in facts if fact.kind == "host" and fact.trusted}
    hosts = {name: Host(name=name, address=name) for name in names | ({entity.host} if entity else set())}
    revision = Revision(
        commit="0" * 40, catalog=catalog, inventory=Inventory(hosts=hosts),
        policy=Policy(mode=Mode.PROPOSE, rules=(_EVERY_RISK,)),
    )  # fmt: skip
    why = "the scenario says so"
    return Question(
        case=scenario.id, alert=alert, entity=entity, facts=facts, revision=revision, offers=scenario.verify,
        confirmation=Confirmation(confirmed=firing, why=why if firing else "the alert is resolved"),
    )  # fmt: skip


def entity_in(alert: Alert, facts: Sequence[Fact]) -> Entity | None:
    """What the alert is about: the trusted thing that a label names, else the first host, else the instance that a
    trusted fact speaks of, else the first thing.

    The other things depend on it, but never another host.
    """
    things = [fact for fact in facts if fact.kind in _THINGS and fact.trusted and " " not in str(fact.value)]
    said = {bare(value) for value in alert.labels.values()}
    order = [
        *(fact for fact in things if str(fact.value) in said and fact.kind in ("host", "node", "device")),
        *(fact for fact in things if fact.kind == "host"),
        *things,
    ]
    instance = bare(alert.labels.get("instance", ""))
    told = instance and any(
        fact.trusted and re2.search(rf"\b{re2.escape(instance)}\b", text_of(fact)) for fact in facts
    )
    if told and not (order and order[0].kind == "host"):
        kind, name = "node", instance
    elif order:
        kind, name = order[0].kind, str(order[0].value)
    else:
        return None
    rest = tuple(dict.fromkeys(str(fact.value) for fact in things if fact.kind != "host" and str(fact.value) != name))
    return Entity(kind=kind, name=name, host=name, site="home", depends_on=rest)


def _read_line(raw: bytes) -> Scenario:
    """One line; raises ValueError with the reason."""
    try:
        plain = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(plain, dict):
        raise ValueError("an object is expected")
    try:
        scenario = Scenario.model_validate(plain, strict=None)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    _alert(scenario.alert)
    ids = [fact.id for fact in scenario.facts]
    double = next((id for id in ids if ids.count(id) > 1), None)
    if double is not None:
        raise ValueError(f"facts: {double!r} is there twice")
    unknown = {id for group in scenario.expected.evidence_any for id in group} - set(ids)
    unknown |= set(scenario.expected.verify_any) - {offer.id for offer in scenario.verify}
    if unknown:
        raise ValueError(f"expected: {sorted(unknown)[0]!r} is neither a fact nor an offer of this scenario")
    both = {answer.playbook for answer in scenario.expected.accept} & set(scenario.expected.reject_playbooks)
    if both:
        raise ValueError(f"expected: {sorted(both)[0]!r} is accepted and rejected")
    return scenario


def _alert(payload: dict[str, Any]) -> Alert:
    """The first alert that fires, else the first; raises ValueError when the payload has none."""
    delivery = read_delivery(json.dumps(payload).encode(), source="scenario")
    if not delivery.alerts:
        reason = delivery.unreadable[0].reason if delivery.unreadable else "no alert in it"
        raise ValueError(f"alert: {reason}")
    return next((alert for alert in delivery.alerts if alert.status == "firing"), delivery.alerts[0])


def _fact(stated: StatedFact, at: datetime) -> Fact:
    return Fact(**stated.model_dump(), taken_at=at)
