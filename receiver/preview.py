"""What would be decided about an alert, and why, without doing it: no case, no slot, no proposal, no host.

Goes the same way as a case does: the alert's entity from the inventory, its source's word, facts and the past, the
planner, and the guard's table. It reads; only the sources and a model are asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from receiver.domain.alert import Alert, no_case_reason, read_delivery
from receiver.domain.entity import Entity, resolve
from receiver.domain.fact import Fact
from receiver.domain.history import Past, facts_of
from receiver.domain.outcome import Mode
from receiver.domain.plan import Attempt, Plan
from receiver.domain.policy import GUARD, Proposed
from receiver.domain.proof import Confirmation
from receiver.domain.proposal import Answer
from receiver.domain.question import Question, offers_of
from receiver.domain.record import Record
from receiver.domain.revision import Revision
from receiver.domain.table import answer_all
from receiver.errors import Invalid
from receiver.ports import Clock, Facts, Planner, Proof

#: the case that is asked about does not exist
NO_CASE = "00000000-0000-0000-0000-000000000000"


#: alerts of one payload that are looked at
MOST_ALERTS = 20
#: how earlier cases of an alert on an entity ended
Recall = Callable[[Alert, Entity | None], Awaitable[Past]]


class Preview(Record):
    """The answer for one alert."""

    alert: Alert
    no_case: str | None  #: why this alert would open no case at all
    entity: Entity | None
    unresolved: str = ""
    mode: Mode
    confirmation: Confirmation
    facts: tuple[Fact, ...]
    plan: Plan
    attempts: tuple[Attempt, ...]
    guard: tuple[Answer, ...] = ()  #: only where the plan is to run a playbook
    verdict: str  #: one sentence


class Previewer:
    """Answers questions about alerts that nobody sent."""

    def __init__(self, *, facts: Facts, proof: Proof, planner: Planner, clock: Clock) -> None:
        self._facts, self._proof, self._planner, self._clock = facts, proof, planner, clock

    async def payload(self, body: bytes, *, source: str, revision: Revision, recall: Recall) -> list[Preview]:
        """One answer for each alert of a webhook payload, at most twenty; raises `Invalid` when it has none."""
        delivery = read_delivery(body, source=source)
        if not delivery.alerts:
            raise Invalid(
                delivery.unreadable[0].reason if delivery.unreadable else "no alert in it", where="the payload"
            )
        return [await self.preview(alert, revision, recall) for alert in delivery.alerts[:MOST_ALERTS]]

    async def preview(self, alert: Alert, revision: Revision, recall: Recall) -> Preview:
        """What would be decided about this alert under this revision."""
        found = resolve(alert.labels, revision.inventory)
        entity = found if isinstance(found, Entity) else None
        unresolved = "" if isinstance(found, Entity) else found.reason
        past = await recall(alert, entity)
        confirmation = await self._proof.confirm(alert, entity)
        gathered = await self._facts.gather(alert, entity, revision.inventory)
        facts = (*gathered, *facts_of(past, self._clock.now()))
        question = Question(
            case=NO_CASE, alert=alert, entity=entity, facts=facts, revision=revision, confirmation=confirmation,
            offers=offers_of(revision.catalog),
        )  # fmt: skip
        plan, attempts = await self._planner.plan(question)
        mode = revision.policy.mode_of(alert.source)
        guard: tuple[Answer, ...] = ()
        if plan.action == "playbook":
            seen = Proposed(
                alert=alert, entity=entity, unresolved=unresolved, confirmation=confirmation, mode=mode, plan=plan,
                requested_by="system", revision=revision,
            )  # fmt: skip
            guard = answer_all(GUARD, seen)
        no_case = no_case_reason(alert, connected_at=alert.starts_at)
        return Preview(
            alert=alert, no_case=no_case, entity=entity, unresolved=unresolved, mode=mode,
            confirmation=confirmation, facts=facts, plan=plan, attempts=tuple(attempts), guard=guard,
            verdict=_verdict(no_case, plan, guard),
        )  # fmt: skip


def _verdict(no_case: str | None, plan: Plan, guard: tuple[Answer, ...]) -> str:
    if no_case is not None:
        return f"it would open no case: {no_case}"
    if plan.action != "playbook":
        return f"{plan.action}: {plan.why}"
    no = next((answer for answer in guard if answer.passed is False), None)
    if no is not None:
        return f"{plan.playbook} would be planned, and held back by {no.name}: {no.why}"
    return f"{plan.playbook} would be rehearsed and proposed"
