"""Planned → Vetted: may this be proposed, and is there room for one more?

Asks every row of the table in `domain/policy.py`, writes the run file, and takes the proposal slot: limits
come before any contact with a host.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from receiver.domain.case import Ended, Planned, Vetted
from receiver.domain.outcome import Outcome
from receiver.domain.place import Routing
from receiver.domain.playbook import Playbook
from receiver.domain.policy import GUARD, Proposed
from receiver.domain.revision import Revision
from receiver.domain.runfile import RunFile
from receiver.domain.table import answer_all, first_no
from receiver.errors import Retry
from receiver.evidence import pins_of
from receiver.identity import new_id
from receiver.ports import Ledger, Repo

#: how soon to look again when all slots are taken; a freed slot wakes the most severe sooner
SLOT_SECONDS = 15.0


async def guard(case: Planned, *, repo: Repo, ledger: Ledger, routing: Routing) -> Vetted | Ended:
    """Vet one plan."""
    revision = await repo.revision(case.revision)
    now = await ledger.now()
    seen = Proposed(
        alert=case.alert,
        entity=case.entity,
        unresolved=case.unresolved,
        confirmation=case.confirmation,
        mode=case.mode,
        plan=case.plan,
        requested_by=case.requested_by,
        revision=revision,
        now=now,
        turned_down_at=await ledger.turned_down(case.alert, case.entity, case.plan) if case.alert else None,
        routing=routing,
    )
    answers = answer_all(GUARD, seen)
    no = first_no(GUARD, seen)
    if no is not None:
        row, why = no
        return case.end(row.fails_as or Outcome.REFUSED, why, reason=row.name, guard=answers)
    playbook = revision.catalog.playbooks[case.plan.playbook or ""]
    limits = revision.policy.limits
    full = await ledger.take_slot(case.id, limits)
    if full is not None:
        if now - case.opened_at >= timedelta(seconds=limits.expiry_seconds):
            return case.end(Outcome.EXPIRED, f"no room in time: {full}", reason="proposal_limit", guard=answers)
        raise Retry(f"proposal_limit: {full}", after_seconds=SLOT_SECONDS)
    runfile = await _runfile(
        case, seen.targets, playbook, revision, repo, now + timedelta(seconds=limits.expiry_seconds)
    )
    if case.given is not None:
        # what a person wrote is run as it stands, or not at all
        if case.given.runfile.pins != runfile.pins or case.given.runfile.targets != seen.targets:
            why = "the run file pins another state than the one in force: write it again"
            return case.end(Outcome.SUPERSEDED, why, reason="pinned", guard=answers)
        runfile = case.given.runfile
    site = revision.inventory.hosts[seen.targets[0]].site
    return case.become(Vetted, runfile=runfile, risk=playbook.risk, guard=answers, site=site)


async def _runfile(
    case: Planned,
    targets: tuple[str, ...],
    playbook: Playbook,
    revision: Revision,
    repo: Repo,
    expires_at: datetime,
) -> RunFile:
    alert = case.alert
    return RunFile(
        run=new_id(),
        playbook=playbook.id,
        targets=targets,
        params=case.plan.params,
        revision=revision.commit,
        pins=await pins_of(repo, revision, playbook, targets),
        case=case.id,
        alert={
            "source": alert.source,
            "fingerprint": alert.fingerprint,
            "starts_at": alert.starts_at.isoformat(),
        }
        if alert
        else None,
        reason=_reason(case),
        requested_by=case.requested_by,
        expires_at=expires_at,
    )


def _reason(case: Planned) -> str:
    """One line from ids and names of ours; no label text enters the run file's reason."""
    if case.alert is None:
        return f"dispatched by {case.requested_by}"
    return f"playbook {case.plan.playbook} for an alert of source {case.alert.source}"
