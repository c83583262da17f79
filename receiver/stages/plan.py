"""Investigated → Planned: which playbook, if any, and which facts fill its parameters."""

from __future__ import annotations

from receiver.domain.case import Ended, Investigated, Planned
from receiver.domain.outcome import Outcome
from receiver.domain.question import Question, offers_of
from receiver.ports import Chronicle, Planner, Repo

_ENDS = {
    "diagnose": Outcome.DIAGNOSED,
    "notify": Outcome.NOTIFIED,
    "none": Outcome.NOTHING_TO_DO,
}


async def plan(case: Investigated, *, repo: Repo, planner: Planner, chronicle: Chronicle) -> Planned | Ended:
    """Ask the planner; only the plan to run a playbook goes on."""
    revision = await repo.revision(case.revision)
    question = Question(
        case=case.id, alert=case.alert, entity=case.entity, facts=case.facts, revision=revision,
        confirmation=case.confirmation, memories=case.memories, offers=offers_of(revision.catalog),
    )  # fmt: skip
    chosen, attempts = await planner.plan(question)
    if chosen.action == "playbook":
        track = await chronicle.track(case.alert.name, chosen.playbook or "")
        return case.become(Planned, plan=chosen, attempts=tuple(attempts), track=track)
    outcome = _ENDS[chosen.action]
    return case.end(outcome, chosen.why, plan=chosen, attempts=tuple(attempts))
