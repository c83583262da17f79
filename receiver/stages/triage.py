"""Received → Triaged: is it worth looking at now, and what is it about?

The entity comes from the inventory by code. Ends the case for the first reason of the table in
`domain/triage.py`; fixes the adopted revision and the mode for the rest of the way.
"""

from __future__ import annotations

from receiver.domain.case import Ended, Received, Triaged
from receiver.domain.entity import Entity, resolve
from receiver.domain.outcome import Outcome
from receiver.domain.table import first_no
from receiver.domain.triage import TRIAGE, Look
from receiver.ports import Ledger, Repo


async def triage(case: Received, *, repo: Repo, ledger: Ledger) -> Triaged | Ended:
    """Look at one alert for the first time."""
    commit = await repo.adopted()
    revision = await repo.revision(commit)
    found = resolve(case.alert.labels, revision.inventory)
    entity = found if isinstance(found, Entity) else None
    policy = revision.policy
    past = await ledger.history(case.alert, entity, policy.limits, case.id, case.opened_at)
    triaged = case.become(
        Triaged,
        revision=commit,
        mode=policy.mode_of(case.alert.source),
        entity=entity,
        unresolved="" if isinstance(found, Entity) else found.reason,
    )
    look = Look(case=case.id, alert=case.alert, host=entity.host if entity else None, history=past, policy=policy)
    no = first_no(TRIAGE, look)
    if no is None:
        return triaged
    row, why = no
    return triaged.end(row.fails_as or Outcome.REFUSED, why, reason=row.name)
