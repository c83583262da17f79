"""Proposed → Approved: wait for the merge, then believe it only if every question of the table is answered.

While it waits: a problem that is *proved* gone closes the proposal (rule S1); one that only went silent stays
open and a person is told; one too old expires. `merged` is a hint: the table in `domain/approval.py` decides.
"""

from __future__ import annotations

from receiver.domain.approval import APPROVAL, Merge, vote_of
from receiver.domain.case import Approved, Ended, Proposed
from receiver.domain.forge import PullRequest
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.proof import Reading
from receiver.domain.proposal import Approval, Signature
from receiver.domain.quorum import approvers, standing
from receiver.domain.table import answer_all, first_no
from receiver.errors import Broken, Retry
from receiver.evidence import Grounds, hold_seconds
from receiver.ports import Forge, Hosting, Proof

#: how often an open proposal is looked at without being woken
POLL_SECONDS = 20.0
#: asked again, with the source, by the clearance just before the start
_AT_MERGE = tuple(row for row in APPROVAL if "source" not in row.needs and row.name != "in_the_way")


async def approve(
    case: Proposed, *, grounds: Grounds, forge: Forge, hosting: Hosting, proof: Proof
) -> Approved | Ended:
    """Look at the proposal once."""
    pull = await forge.read(case.proposal.number)
    if pull.state == "closed":
        return case.end(Outcome.REJECTED, f"closed by {pull.closed_by or 'somebody'}")
    if pull.state == "open":
        return await _while_open(case, forge=forge, proof=proof, grounds=grounds)
    merge = await grounds.gather(case, pull.merge_sha, pull_request=pull, posture=await hosting.posture())
    no = first_no(_AT_MERGE, merge)
    if no is not None:
        row, why = no
        if row.fails_as is None:
            raise Retry(why, after_seconds=POLL_SECONDS)
        return case.end(row.fails_as, why, reason=row.name)
    return case.become(Approved, approval=_approval(merge, pull))


def _approval(merge: Merge, pull: PullRequest) -> Approval:
    if pull.merge_sha is None:
        raise Broken(f"pull request {pull.number} passed all checks without a merge commit")
    vote = vote_of(merge)
    words = standing(vote)
    counted = approvers(vote)
    return Approval(
        at=pull.merged_at or merge.now,
        merge_sha=pull.merge_sha,
        head_sha=pull.head_sha,
        approved_by=counted,
        signatures=tuple(
            Signature(person=name, text=words[name].signature) for name in counted if words[name].signature
        ),
        checks=answer_all(_AT_MERGE, merge),
    )


async def _while_open(case: Proposed, *, forge: Forge, proof: Proof, grounds: Grounds) -> Ended:
    """Ends the case for a reason that is proved, else puts it off."""
    if await grounds.ledger.now() >= case.proposal.expires_at:
        why = f"nobody decided before {case.proposal.expires_at:%Y-%m-%d %H:%M} UTC"
        await forge.close(case.proposal.number, f"Closed: {why}.")
        return case.end(Outcome.EXPIRED, why)
    if case.alert is not None:
        reading = await _gone(case, proof)
        if reading is not None and reading.verdict is Verdict.RESOLVED:
            await forge.close(case.proposal.number, f"Closed: the problem is proved gone. {reading.why}")
            return case.end(Outcome.SELF_RESOLVED, reading.why)
        policy = (await grounds.repo.revision(case.revision)).policy
        past = await grounds.ledger.history(case.alert, case.entity, policy.limits, case.id, case.opened_at)
        if past.alert_resolved_at is not None and reading and reading.verdict is Verdict.NO_DATA:
            raise Retry(f"went silent: no data ({reading.why})", after_seconds=POLL_SECONDS, tell=True)
    raise Retry("needs you: approve or reject the proposal", after_seconds=POLL_SECONDS)


async def _gone(case: Proposed, proof: Proof) -> Reading | None:
    """The alert's own expression, which must have been quiet for the whole hold (rule S1)."""
    baseline = case.confirmation.baseline if case.confirmation else None
    if case.alert is None or baseline is None:
        return None
    hold = hold_seconds(baseline.for_seconds, baseline.interval_seconds)
    return await proof.read(case.alert, baseline, newer_than=case.alert.starts_at, held_seconds=hold)
