"""Proposed → Approved: wait for the merge, then believe it only if every question of the table is answered.

While it waits: a problem that is *proved* gone closes the proposal (rule S1); one that only went silent stays open,
is marked so, and a person is told; what it stands on moved, and it makes room for a new one; one too old expires. A
close quiets only when the closer may approve (rule S18). `merged` is a hint: the table in `domain/approval.py` decides.
"""

from __future__ import annotations

from receiver.domain.approval import (
    APPROVAL,
    Merge,
    cannot_run,
    counted,
    in_its_place,
    may_count,
    still_required,
    undiverged,
    vote_of,
)
from receiver.domain.case import CLOSED_BY_A_STRANGER, TURNED_DOWN, Approved, Ended, Proposed
from receiver.domain.forge import Marks, PullRequest
from receiver.domain.job import job_hosts
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.proof import Reading
from receiver.domain.proposal import Approval, Signature
from receiver.domain.pulltext import closing, labels, proposal_body, standing_comment, status_line
from receiver.domain.quorum import may_approve, merged_at, person_of, standing
from receiver.domain.table import NotHere, answer_all, first_no
from receiver.errors import Broken, Refused, Retry
from receiver.evidence import Grounds, hold_seconds
from receiver.ports import Forge, Hosting, Proof

#: how often an open proposal is looked at without being woken
POLL_SECONDS = 20.0
#: the same elsewhere, where each look is several requests and whoever polls the forge wakes it
POLL_ELSEWHERE_SECONDS = 60.0
#: a forge that is still working something out has done so in a moment
SETTLE_SECONDS = 2.0
#: asked again, with the source, by the clearance just before the start
_AT_MERGE = tuple(row for row in APPROVAL if "source" not in row.needs and row.name != "in_the_way")


async def approve(
    case: Proposed, *, grounds: Grounds, forge: Forge, hosting: Hosting, proof: Proof
) -> Approved | Ended:
    """Look at the proposal once."""
    try:
        pull = await forge.read(case.proposal.number)
    except Refused as error:
        # deleted, or out of our sight: nobody can decide any more, and it does not stay open for ever
        if await grounds.ledger.now() < case.proposal.expires_at:
            raise
        return case.end(Outcome.EXPIRED, f"{_expired(case)}; and the forge: {error.message}", reason="in_time")
    if pull.state == "closed":
        return await _closed(case, pull, grounds)
    merge = await grounds.gather(case, pull.merge_sha, pull_request=pull, posture=await hosting.posture())
    if pull.state == "open":
        return await _while_open(case, merge, forge=forge, proof=proof, grounds=grounds)
    no = first_no(_AT_MERGE, merge)
    if no is not None:
        row, why = no
        if row.fails_as is None:
            seconds = SETTLE_SECONDS if row.name == "settled" else _poll_seconds(grounds)
            raise Retry(f"merged, but {why}", after_seconds=seconds, tell=row.name == "posture")
        return case.end(row.fails_as, why, reason=row.name)
    return case.become(Approved, approval=_approval(merge, pull))


def _approval(merge: Merge, pull: PullRequest) -> Approval:
    if pull.merge_sha is None:
        raise Broken(f"pull request {pull.number} passed all checks without a merge commit")
    words, names = standing(vote_of(merge)), counted(merge)
    return Approval(
        at=merged_at(pull, merge.now),
        merge_sha=pull.merge_sha,
        head_sha=pull.head_sha,
        approved_by=names,
        signatures=tuple(Signature(person=name, text=words[name].signature) for name in names if words[name].signature),
        checks=answer_all(_AT_MERGE, merge),
    )


async def _closed(case: Proposed, pull: PullRequest, grounds: Grounds) -> Ended:
    """Unmerged. Whose word it was decides whether the same may be proposed again."""
    if pull.closed_by == grounds.bot and await grounds.ledger.now() >= case.proposal.expires_at:
        return case.end(Outcome.EXPIRED, _expired(case))  # we closed it, and died before that was written down
    policy = (await grounds.repo.revision(case.revision)).policy
    person = person_of(policy, pull.closed_by) if pull.closed_by is not None else None
    if person is not None and may_approve(person, case.risk):
        return case.end(Outcome.REJECTED, f"turned down by {person.name}", reason=TURNED_DOWN)
    by = pull.closed_by.login if pull.closed_by is not None else "somebody"
    why = f"closed by {by}, who may not approve it: while the alert fires, it is proposed again"
    return case.end(Outcome.REJECTED, why, reason=CLOSED_BY_A_STRANGER)


async def _while_open(case: Proposed, merge: Merge, *, forge: Forge, proof: Proof, grounds: Grounds) -> Ended:
    """Ends the case for a reason that is proved, else says what is still required and puts it off."""
    if merge.now >= case.proposal.expires_at:
        await _close(case, forge, closing(_expired(case)))
        return case.end(Outcome.EXPIRED, _expired(case))
    reading = await _gone(case, proof)
    if reading is not None and reading.verdict is Verdict.RESOLVED:
        await _close(case, forge, closing(f"the problem is proved gone: {reading.why}", reading))
        return case.end(Outcome.SELF_RESOLVED, reading.why)
    for name, moved in (("place", in_its_place(merge)), ("undiverged", undiverged(merge))):
        if moved is not None and not isinstance(moved, NotHere):
            await _close(case, forge, closing(f"superseded: {moved}"))
            return case.end(Outcome.SUPERSEDED, moved, reason=name)
    if case.given is not None and cannot_run(merge):
        # its author pushed again: what stands there now is looked at as a new one
        return case.end(Outcome.SUPERSEDED, still_required(merge)[0], reason="same_head")
    silent = await _silent(case, reading, grounds)
    await _say(case, merge, forge, silent, grounds)
    if silent:
        raise Retry(silent, after_seconds=_poll_seconds(grounds), tell=True)
    required = still_required(merge)
    if merge.pull_request is not None and merge.pull_request.settling:
        raise Retry(required[0], after_seconds=SETTLE_SECONDS)
    if cannot_run(merge):
        raise Retry(f"it will not run as it is: {required[0]}", after_seconds=_poll_seconds(grounds), tell=True)
    raise Retry(f"needs you: {required[0] if required else 'merge it'}", after_seconds=_poll_seconds(grounds))


async def _close(case: Proposed, forge: Forge, text: str) -> None:
    """Ours is closed; a person's own pull request is theirs to close."""
    if case.given is None:
        await forge.close(case.proposal.number, text)
    else:
        await forge.comment(case.proposal.number, text)


async def _say(case: Proposed, merge: Merge, forge: Forge, silent: str, grounds: Grounds) -> None:
    """What it still takes, on the pull request itself. The same again says nothing."""
    pull = merge.pull_request
    if pull is None or pull.settling:
        return
    required = still_required(merge)
    state = "failure" if cannot_run(merge) else "success"
    marks = Marks(
        head_sha=pull.head_sha,
        state=state,
        text=status_line(case, required),
        labels=labels(case.risk, "silent" if silent else ""),
    )
    await forge.mark(case.proposal.number, marks)
    text = standing_comment(case, required, can_approve=may_count(merge), silent=silent)
    if case.given is not None:
        # the description is its author's; what the dry run showed stands in our comment
        revision = await grounds.repo.revision(case.revision)
        hosts = job_hosts(revision.inventory, case.runfile.targets)
        text = f"{proposal_body(case, revision.catalog.playbooks[case.runfile.playbook], hosts)}\n\n{text}"
    await forge.comment(case.proposal.number, text)


async def _silent(case: Proposed, reading: Reading | None, grounds: Grounds) -> str:
    """Rule S1: a `resolved` without evidence is no proof; the proposal stays, and says so."""
    if case.alert is None or reading is None or reading.verdict is not Verdict.NO_DATA:
        return ""
    policy = (await grounds.repo.revision(case.revision)).policy
    past = await grounds.ledger.history(case.alert, case.entity, policy.limits, case.id, case.opened_at)
    return f"went silent: no data ({reading.why})" if past.alert_resolved_at is not None else ""


async def _gone(case: Proposed, proof: Proof) -> Reading | None:
    """The alert's own expression, which must have been quiet for the whole hold (rule S1)."""
    baseline = case.confirmation.baseline if case.confirmation else None
    if case.alert is None or baseline is None:
        return None
    hold = hold_seconds(baseline.for_seconds, baseline.interval_seconds)
    return await proof.read(case.alert, baseline, newer_than=case.alert.starts_at, held_seconds=hold)


def _expired(case: Proposed) -> str:
    return f"nobody decided before {case.proposal.expires_at:%Y-%m-%d %H:%M} UTC"


def _poll_seconds(grounds: Grounds) -> float:
    return POLL_SECONDS if grounds.forge == "local" else POLL_ELSEWHERE_SECONDS
