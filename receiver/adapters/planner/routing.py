"""Who is asked, in which order, and when one answer is not enough. Pure: questions and plans in, names out.

Decides by severity, novelty and disagreement. What is resolved, benign or held back by a rule never reaches a model;
critical, new and doubtful cases go to the strong tier.
"""

from __future__ import annotations

from collections.abc import Sequence

from receiver.adapters.planner.settings import PlannerSettings
from receiver.domain.alert import BENIGN
from receiver.domain.holds import Scene, first_hold
from receiver.domain.plan import Attempt, Candidate, Plan
from receiver.domain.question import Question


def settled(question: Question, by_rule: Plan, attempts: Sequence[Attempt], proven: int) -> str | None:
    """Why no model is asked at all, or None."""
    if question.alert.status == "resolved":
        return "the alert is resolved"
    if question.alert.name in BENIGN:
        return "the alert fires on purpose"
    if not decided(attempts):
        return None
    if by_rule.action != "playbook":
        return "a rule says to hold back"
    same = [one for one in question.memories if one.kind == "case" and one.alertname == question.alert.name]
    fixed = [one for one in same if one.playbook == by_rule.playbook and one.outcome == "fixed"]
    if 0 < proven <= len(fixed) == len(same):
        return f"its rule has a record of {len(fixed)} fixes and no failure"
    return None


def holding(question: Question) -> str:
    """The rule that says not to act, or an empty text: a model may say how else, and proposes no change against it."""
    playbooks = frozenset(question.catalog.playbooks)
    found = first_hold(Scene(alert=question.alert, facts=question.facts, playbooks=playbooks))
    return found[0].name if found is not None else ""


def decided(attempts: Sequence[Attempt]) -> bool:
    """Whether the rules took a decision, and did not abstain."""
    return bool(attempts) and attempts[-1].verdict == "accepted"


def order(question: Question, settings: PlannerSettings) -> tuple[str, ...]:
    """The tiers to try; the strong one first when the case asks for it."""
    names, strong = settings.names, settings.strong
    if strong and why_strong(question, settings):
        return (strong, *(name for name in names if name != strong))
    return names


def why_strong(question: Question, settings: PlannerSettings) -> str:
    """What makes this a case for the strong tier; empty when nothing does."""
    if question.alert.severity_rank == 0:
        return "it is critical"
    known = any(one.kind == "case" and one.alertname == question.alert.name for one in question.memories)
    if settings.routing.first_to_strong and not known:
        return "no case of this alert is remembered"
    return ""


def second_needed(plan: Plan, tier: str, by_rule: Plan | None, risk: str, settings: PlannerSettings) -> str:
    """Why another tier must be heard before this plan is believed; empty when none must."""
    wanted = {str(name): count for name, count in settings.consensus.items()}
    if wanted.get(risk, 1) > 1:
        return f"two tiers must agree on risk {risk}"
    if by_rule is not None and not same(plan, by_rule) and tier != settings.strong:
        return "it differs from the rule"
    return ""


def same(one: Plan, other: Plan) -> bool:
    """Whether two plans come to the same; two ways of leaving it to a person do."""
    ask = ("notify", "diagnose")
    if one.action in ask and other.action in ask:
        return True
    return (one.action, one.playbook, one.params) == (other.action, other.playbook, other.params)


def torn(first: Plan, second: Plan, why: str) -> Plan:
    """Two tiers disagree: a person decides, with both in view."""
    both = tuple(Candidate(playbook=_named(plan), chosen=False, why=_told(plan)) for plan in (first, second))
    seen = {one.playbook for one in both}
    others = tuple(one for one in first.candidates if one.playbook not in seen)
    return Plan(
        action="notify", why=f"{first.tier} and {second.tier} disagree ({why}): a person decides",
        evidence=tuple(dict.fromkeys((*first.evidence, *second.evidence))), tier=f"{first.tier}+{second.tier}",
        rationale=first.rationale, expected_effect=first.expected_effect, candidates=(*both, *others),
    )  # fmt: skip


def _named(plan: Plan) -> str:
    return plan.playbook or plan.action


def _told(plan: Plan) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in plan.params.items())
    return f"tier {plan.tier or 'rules'} would take it{f' with {values}' if values else ''}"
