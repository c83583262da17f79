"""Triaged → Investigated: what is known, and does the source itself say so?

Reads only. What cannot be read is a fact too; whether the alert is true is asked of its source, never taken
from the webhook.
"""

from __future__ import annotations

from receiver.domain.case import Investigated, Triaged
from receiver.ports import Facts, Memory, Proof, Repo


async def investigate(case: Triaged, *, repo: Repo, facts: Facts, proof: Proof, memory: Memory) -> Investigated:
    """Gather facts and confirm the alert."""
    revision = await repo.revision(case.revision)
    confirmation = await proof.confirm(case.alert, case.entity)
    gathered = await facts.gather(case.alert, case.entity, revision.inventory)
    recalled = tuple(await memory.recall(case.alert, case.entity))
    return case.become(Investigated, facts=tuple(gathered), memories=recalled, confirmation=confirmation)
