"""Approved → Executed: locks, clearance, the executor's own checks, the claim, then one child process.

At most once (promise P3): the beginning is recorded and the run is claimed before there is a process. Found
begun without an end, it is `interrupted: outcome unknown`, for a person, and never begun again.
"""

from __future__ import annotations

import asyncio
import secrets

from receiver.domain.approval import APPROVAL
from receiver.domain.case import Approved, Ended, Executed
from receiver.domain.job import job_of, lock_names
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.proposal import Rehearsal
from receiver.domain.run import Job, Rung, RunResult
from receiver.domain.table import first_no
from receiver.errors import Conflict, Retry
from receiver.evidence import Grounds
from receiver.ports import Clearance, Locks, Runner, Runs
from receiver.rehearsing import dry_run

#: how long to wait for role plan's word before the locks are given back
CLEARANCE_SECONDS = 20.0
#: pauses between the tries to write down how a run ended
PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
_HERE = tuple(row for row in APPROVAL if not {"forge", "source"}.intersection(row.needs))
_UNKNOWN = "the executor died in the middle of the run; what it did is not known"
_ENDS = {
    "failed": Outcome.FAILED,
    "timeout": Outcome.FAILED,
    "cancelled": Outcome.CANCELLED,
    "interrupted": Outcome.INTERRUPTED,
}


async def execute(case: Approved, *, grounds: Grounds, runner: Runner, locks: Locks, instance: str) -> Executed | Ended:
    """Run the approved bytes, once."""
    run = case.runfile.run
    begun = await grounds.runs.attempt_of(run, "run")
    if begun is not None:
        await locks.free(run)
        return await _pick_up(case, begun, grounds)
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    names = lock_names(playbook, case.runfile, revision.inventory)
    holder = await locks.take(run, case.id, names, reason=f"{playbook.id} in run {run}")
    if holder is not None:
        raise Retry(f"lock: {holder}", after_seconds=5)
    try:
        return await _locked(case, grounds, runner, instance)
    finally:
        await locks.free(run)


async def _locked(case: Approved, grounds: Grounds, runner: Runner, instance: str) -> Executed | Ended:
    """With the locks in hand: clearance, own checks, claim, run."""
    isolation = await runner.isolation()
    fresh = await _rehearsed(case, grounds, runner, isolation, instance)
    if isinstance(fresh, Ended):
        return fresh
    case = fresh
    clearance = await _cleared(case, grounds)
    if isinstance(clearance, Ended):
        return clearance
    merge = await grounds.gather(case, case.approval.merge_sha, isolation=isolation)
    no = first_no(_HERE, merge)
    if no is not None:
        row, why = no
        if row.fails_as is None:
            raise Retry(why, after_seconds=10)
        return case.end(row.fails_as, why, reason=row.name)
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    files = await grounds.repo.files(case.revision, playbook.path)
    job = job_of(
        case.runfile, playbook, revision.inventory, files,
        mode="run", isolation=isolation, collections=revision.collections,
    )  # fmt: skip
    return _ended(case, await _once(case, job, grounds, runner, instance), clearance)


async def _rehearsed(
    case: Approved, grounds: Grounds, runner: Runner, isolation: Rung, instance: str
) -> Approved | Ended:
    """An old dry run is repeated; when something else would change now, the approval was for something else."""
    limits = (await grounds.repo.revision(case.revision)).policy.limits
    approved, newest = case.rehearsals[-1], await _newest(case, grounds.runs)
    now = await grounds.ledger.now()
    is_old = (now - newest.result.ended_at).total_seconds() > limits.rehearsal_age_seconds
    if is_old and now < case.proposal.expires_at:  # what has expired is not cleared, and touches no host for that
        paused = await grounds.gate.paused()
        if paused:
            raise Retry(paused, after_seconds=10)
        newest = await dry_run(
            case, repo=grounds.repo, runs=grounds.runs, runner=runner, isolation=isolation, instance=instance
        )
        if newest.result.status in ("interrupted", "cancelled"):
            raise Retry(f"the repeated dry run was {newest.result.status}", after_seconds=10)
    if newest.id == approved.id:
        return case
    rehearsals = (*case.rehearsals, newest)
    if newest.differs_from(approved):
        why = "the dry run was repeated, since it was old, and something else would change now: the approval is void"
        return case.end(Outcome.SUPERSEDED, why, reason="rehearsal", rehearsals=rehearsals)
    return case.become(Approved, rehearsals=rehearsals, approval=case.approval)


async def _newest(case: Approved, runs: Runs) -> Rehearsal:
    """The last dry run that ended; one repeated while the case waited counts."""
    found = await runs.attempt_of(case.runfile.run, "check")
    if found is None or found[1] is None or found[1].status in ("interrupted", "cancelled"):
        return case.rehearsals[-1]
    return Rehearsal(id=found[0], result=found[1])


async def _once(case: Approved, job: Job, grounds: Grounds, runner: Runner, instance: str) -> RunResult | None:
    """Claim it, record the beginning, run. None: somebody else has claimed or begun it before.

    The claim comes first: a forge that does not answer then leaves nothing begun, and the run is tried again.
    """
    runs = grounds.runs
    if not await grounds.branches.claim(job.run_id, instance, secrets.token_hex(16)):
        return None
    try:
        attempt = await runs.begin(job.run_id, case.id, "run", instance)
    except Conflict:
        return None
    result = await runner.run(job, lambda events: runs.record(attempt, events), lambda: runs.cancelled(attempt))
    await _finish(runs, attempt, result)
    return result


async def _finish(runs: Runs, attempt: str, result: RunResult) -> None:
    """The run has ended: a database that is started again meanwhile is waited for, else its end would be unknown."""
    for seconds in PATIENCE:
        try:
            await runs.finish(attempt, result)
        except Retry:
            await asyncio.sleep(seconds)
        else:
            return
    await runs.finish(attempt, result)


async def _cleared(case: Approved, grounds: Grounds) -> Clearance | Ended:
    """Wait for role plan's word. A no ends the case or puts it off, as the row says."""
    run, runs = case.runfile.run, grounds.runs
    for _ in range(int(CLEARANCE_SECONDS / 0.1)):
        clearance = await runs.ask_clearance(run, case.id)
        if clearance is not None:
            await runs.drop_clearance(run)
            return clearance if clearance.granted else _not_cleared(case, clearance)
        await asyncio.sleep(0.1)
    if await grounds.ledger.now() >= case.proposal.expires_at:
        # the forge is gone, and nobody can say any more whether it may begin: nothing waits for ever
        why = f"approved, and not cleared before {case.proposal.expires_at:%Y-%m-%d %H:%M} UTC"
        return case.end(Outcome.EXPIRED, why, reason="in_time")
    raise Retry("waiting for a clearance: no planner answers", after_seconds=5)


def _not_cleared(case: Approved, clearance: Clearance) -> Ended:
    """Ends for a row that is a real no or for a problem proved gone; else comes back later."""
    refused = {answer.name: answer.why for answer in clearance.answers if answer.passed is False}
    for row in APPROVAL:
        if row.name in refused and row.fails_as is not None:
            return case.end(row.fails_as, refused[row.name], reason=row.name)
    before = clearance.before
    if before is not None and before.verdict is Verdict.RESOLVED:
        return case.end(Outcome.SELF_RESOLVED, f"gone before the run began: {before.why}")
    raise Retry("; ".join(refused.values()) or "not cleared", after_seconds=10)


async def _pick_up(case: Approved, begun: tuple[str, RunResult | None], grounds: Grounds) -> Executed | Ended:
    """A beginning was found: its end is taken over, or it is called what it is, unknown."""
    attempt, result = begun
    if result is None:
        now = await grounds.ledger.now()
        result = RunResult(status="interrupted", why=_UNKNOWN, started_at=now, ended_at=now)
        await grounds.runs.finish(attempt, result)
    return _ended(case, result, None)


def _ended(case: Approved, result: RunResult | None, clearance: Clearance | None) -> Executed | Ended:
    if result is None:
        return case.end(
            Outcome.INTERRUPTED,
            "this run was claimed or begun before; what it did is not known",
            reason="claim",
        )
    executed = case.become(
        Executed,
        result=result,
        baseline=clearance.baseline if clearance else (case.confirmation.baseline if case.confirmation else None),
        before=clearance.before if clearance else None,
    )
    if result.status == "successful":
        return executed
    why = f"the run ended {result.status}" + (f": {result.why}" if result.why else "")
    return executed.end(_ENDS[result.status], why)
