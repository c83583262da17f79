"""Triaged → Investigated: what is known, what happened before, and does the source itself say so?

Reads only. What cannot be read is a fact too; whether the alert is true is asked of its source, never taken
from the webhook.
"""

from __future__ import annotations

from receiver.domain.case import Investigated, Triaged
from receiver.domain.history import facts_of
from receiver.ports import Chronicle, Facts, Ledger, Memory, Proof, Repo


async def investigate(
    case: Triaged, *, repo: Repo, facts: Facts, proof: Proof, ledger: Ledger, chronicle: Chronicle, memory: Memory
) -> Investigated:
    """Confirm the alert, gather facts, count how earlier cases ended, and recall what was like it."""
    revision = await repo.revision(case.revision)
    confirmation = await proof.confirm(case.alert, case.entity)
    gathered = await facts.gather(case.alert, case.entity, revision.inventory)
    past = await chronicle.past(case.alert, case.entity, case.id)
    known = (*gathered, *facts_of(past, await ledger.now()))
    recalled = tuple(await memory.recall(case.alert, case.entity))
    return case.become(Investigated, facts=known, memories=recalled, confirmation=confirmation)
