"""The clearance: role plan's word, just before the start, that a run may begin. Good for a minute.

Asks the whole approval table again with everything read afresh: forge, git, database, clock and the alert's
own source. A problem that is proved gone by then is not run against. Between two hosts of a run (rule S19) it asks
whether the one before is proved to be well.
"""

from __future__ import annotations

from receiver.domain.approval import APPROVAL
from receiver.domain.case import Approved
from receiver.domain.proof import Check
from receiver.domain.steps import BETWEEN, Between, Step
from receiver.domain.table import answer_all
from receiver.evidence import Grounds, checks_of
from receiver.ports import Clearance, Forge, Gate, Hosting, Proof, Repo


async def clear(case: Approved, *, grounds: Grounds, forge: Forge, hosting: Hosting, proof: Proof) -> Clearance:
    """Answer one asking."""
    pull = await forge.read(case.proposal.number)
    confirmation = reading = None
    if case.alert is not None:
        confirmation = await proof.confirm(case.alert, case.entity)
        baseline = confirmation.baseline or (case.confirmation.baseline if case.confirmation else None)
        if baseline is not None:
            reading = await proof.read(case.alert, baseline, newer_than=case.alert.starts_at)
    merge = await grounds.gather(
        case,
        pull.merge_sha,
        pull_request=pull,
        posture=await hosting.posture(),
        confirmation=confirmation,
        reading=reading,
    )
    answers = answer_all(APPROVAL, merge)
    return Clearance(
        granted=all(answer.passed is not False for answer in answers),
        answers=answers,
        baseline=confirmation.baseline if confirmation else None,
        before=reading,
    )


async def clear_step(case: Approved, last: Step, *, repo: Repo, gate: Gate, proof: Proof) -> Clearance:
    """Answer one asking between two steps; what was approved is not asked again, since it has begun."""
    checks: tuple[Check, ...] = ()
    if last.result is not None:
        checks = await checks_of(case, last.hosts, proof=proof, repo=repo, newer_than=last.result.ended_at)
    answers = answer_all(BETWEEN, Between(last=last, checks=checks, paused=await gate.paused()))
    granted = all(answer.passed is not False for answer in answers)
    return Clearance(granted=granted, answers=answers, step=last.number + 1)
