"""Planned → Vetted: may this be proposed, and is there room for one more?

Asks every row of the table in `domain/policy.py`, writes the run file, and takes the proposal slot: limits
come before any contact with a host. What a schedule begins and only reads needs no proposal, and no slot, where the
merged policy lists its playbook in `read_without_proposal`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from receiver.domain.case import Ended, Planned, Vetted
from receiver.domain.outcome import Outcome
from receiver.domain.playbook import Playbook
from receiver.domain.policy import GUARD, Proposed
from receiver.domain.revision import Revision
from receiver.domain.runfile import RunFile
from receiver.domain.standing import Standing
from receiver.domain.table import answer_all, first_no
from receiver.domain.timetable import actor_of
from receiver.errors import Retry
from receiver.evidence import pins_of
from receiver.identity import new_id
from receiver.ports import Ledger, Repo

#: how soon to look again when all slots are taken; a freed slot wakes the most severe sooner
SLOT_SECONDS = 15.0


async def guard(case: Planned, *, repo: Repo, ledger: Ledger) -> Vetted | Ended:
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
        scheduled=case.scheduled,
    )
    answers = answer_all(GUARD, seen)
    no = first_no(GUARD, seen)
    if no is not None:
        row, why = no
        return case.end(row.fails_as or Outcome.REFUSED, why, reason=row.name, guard=answers)
    playbook = revision.catalog.playbooks[case.plan.playbook or ""]
    limits = revision.policy.limits
    expires_at = now + timedelta(seconds=limits.expiry_seconds)
    site = revision.inventory.hosts[seen.targets[0]].site
    standing = _standing(case, playbook, revision, now)
    if standing is not None:
        runfile = await _runfile(case, seen.targets, playbook, revision, repo, expires_at)
        return case.become(Vetted, runfile=runfile, risk=playbook.risk, guard=answers, standing=standing, site=site)
    full = await ledger.take_slot(case.id, limits)
    if full is not None:
        if now - case.opened_at >= timedelta(seconds=limits.expiry_seconds):
            return case.end(Outcome.EXPIRED, f"no room in time: {full}", reason="proposal_limit", guard=answers)
        raise Retry(f"proposal_limit: {full}", after_seconds=SLOT_SECONDS)
    runfile = await _runfile(case, seen.targets, playbook, revision, repo, expires_at)
    if case.given is not None:
        # what a person wrote is run as it stands, or not at all
        if case.given.runfile.pins != runfile.pins or case.given.runfile.targets != seen.targets:
            why = "the run file pins another state than the one in force: write it again"
            return case.end(Outcome.SUPERSEDED, why, reason="pinned", guard=answers)
        runfile = case.given.runfile
    return case.become(Vetted, runfile=runfile, risk=playbook.risk, guard=answers, site=site)


def _standing(case: Planned, playbook: Playbook, revision: Revision, now: datetime) -> Standing | None:
    """The approval in advance of what only reads; the executor asks all of it again, of the bytes that would run."""
    if case.scheduled is None or playbook.effect != "read":
        return None
    if playbook.id not in revision.policy.read_without_proposal:
        return None
    return Standing(by=actor_of(case.scheduled.schedule, revision.commit), at=now)


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
    if case.scheduled is not None:
        return f"schedule {case.scheduled.schedule}, asked for by {case.requested_by}"
    if case.alert is None:
        return f"dispatched by {case.requested_by}"
    return f"playbook {case.plan.playbook} for an alert of source {case.alert.source}"
