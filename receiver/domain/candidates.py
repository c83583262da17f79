"""Which playbooks a model may choose from. Diagnose, notify and none are always open.

Decides by code what cannot be a right answer: a parameter that no trusted fact can fill, a risk above the cap of
this severity and of the policy rule. Critical playbooks are never offered. When more are left than a model can
take, a text ranking keeps the nearest ones; it reads words and believes none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from receiver.domain.binding import bindable
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Risk
from receiver.domain.plan import Candidate
from receiver.domain.playbook import Playbook
from receiver.domain.policyfile import rule_for
from receiver.domain.question import Question
from receiver.domain.record import Record

#: a small model loses its way in a long list
MOST_LOCAL = 12
MOST_CLOUD = 30
#: what an alert's word for its severity may lead to: `info` and `none` only to what can hardly hurt. Above medium a
#: person's signature is asked for, so a machine proposes it only where a policy rule says `max_risk: high`
_CAPS = {3: Risk.LOW}
_USUAL_CAP = Risk.MEDIUM
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[a-z0-9]{2,}", re.ASCII)
_LOOKED_AT = 2000
_K1, _B = 1.2, 0.75


class Menu(Record):
    """What is offered, by id, and why the others are not."""

    offered: tuple[Playbook, ...]
    left_out: tuple[Candidate, ...] = ()

    def get(self, id: str) -> Playbook | None:
        """The offered playbook of this id."""
        return next((playbook for playbook in self.offered if playbook.id == id), None)


def menu(question: Question, *, most: int = MOST_CLOUD) -> Menu:
    """At most `most` playbooks for this question."""
    feasible: list[Playbook] = []
    left_out: list[Candidate] = []
    for playbook in sorted(question.catalog.playbooks.values(), key=lambda playbook: playbook.id):
        why = _why_not(question, playbook)
        if why is None:
            feasible.append(playbook)
        else:
            left_out.append(Candidate(playbook=playbook.id, chosen=False, why=why))
    if len(feasible) > most:
        # whose own rule speaks of this alert is near, whatever its words are
        near = sorted(ranked(question, feasible), key=lambda playbook: not _handles(playbook, question))
        kept = {playbook.id for playbook in near[:most]}
        far = [playbook for playbook in feasible if playbook.id not in kept]
        feasible = [playbook for playbook in feasible if playbook.id in kept]
        left_out += [
            Candidate(playbook=one.id, chosen=False, why=f"not among the {most} nearest by their words") for one in far
        ]
    return Menu(offered=tuple(feasible), left_out=tuple(left_out))


def risk_cap(question: Question, playbook: Playbook) -> Risk:
    """The highest risk that may be offered for this alert; a policy rule with `max_risk` has the last word."""
    rule = rule_for(
        question.revision.policy,
        labels=question.alert.labels,
        host=question.entity.host if question.entity else None,
        playbook=playbook.id,
        risk=playbook.risk,
    )
    if rule is not None and rule.max_risk is not None:
        return rule.max_risk
    return _CAPS.get(question.alert.severity_rank, _USUAL_CAP)


def ranked(question: Question, playbooks: Iterable[Playbook]) -> list[Playbook]:
    """Nearest first by BM25 over the catalog's words; two alike are in the order of their ids."""
    bags = {one.id: Counter(words(_said(one))) for one in playbooks}
    count = len(bags) or 1
    mean = sum(bag.total() for bag in bags.values()) / count or 1
    spread = Counter(word for bag in bags.values() for word in bag)
    asked = set(_asked(question))

    def score(one: Playbook) -> float:
        bag = bags[one.id]
        norm = _K1 * (1 - _B + _B * bag.total() / mean)
        return sum(
            math.log(1 + (count - spread[word] + 0.5) / (spread[word] + 0.5))
            * bag[word]
            * (_K1 + 1)
            / (bag[word] + norm)
            for word in asked & bag.keys()
        )

    return sorted(playbooks, key=lambda one: (-score(one), one.id))


def words(text: str) -> list[str]:
    """Small words of letters and digits; `ContainerDown` is two, and an `s` at the end is none."""
    found = _WORD.findall(_CAMEL.sub(" ", text[:_LOOKED_AT]).lower())
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found]


def _said(playbook: Playbook) -> str:
    kinds = " ".join(kind for kind in playbook.kinds.values() if kind != "host")
    return f"{playbook.id} {playbook.title} {kinds} {playbook.use_when} {playbook.not_when}"


def _handles(playbook: Playbook, question: Question) -> bool:
    return any(Matchers.parse(handle.match).matches(question.alert.labels) for handle in playbook.handles)


def _asked(question: Question) -> Iterable[str]:
    texts = [*question.alert.labels.values(), *question.alert.annotations.values()]
    texts += [f"{fact.kind.replace('.', ' ')} {str(fact.value)[:_LOOKED_AT]} {fact.note}" for fact in question.facts]
    for text in texts:
        yield from words(text)


def _why_not(question: Question, playbook: Playbook) -> str | None:
    if playbook.risk is Risk.CRITICAL:
        return "a critical playbook is never offered to a model"
    if playbook.takes_hosts:
        return "a playbook for several hosts is never offered to a model"
    cap = risk_cap(question, playbook)
    if playbook.risk.rank > cap.rank:
        return f"risk {playbook.risk} is above {cap}, the cap for this alert"
    properties = playbook.params.get("properties", {})
    for name in playbook.params.get("required", ()):
        kind = playbook.kinds.get(name)
        if kind is None and not {"enum", "default"} & set(properties.get(name, {})):
            return f"nothing can fill parameter {name!r}"
        if kind is not None and not bindable(question, playbook, name):
            return f"no trusted fact of kind {' or '.join(playbook.fillers(name))!r} for parameter {name!r}"
    return None
