"""Approved → Executed: locks, clearance, the executor's own checks, the claim, then one child process for each step.

At most once (promise P3): the run is claimed, and its beginning recorded, before there is a process. Found claimed or
begun without an end, it is `interrupted`, for a person, and never begun again: a restored database may have lost the
record of a beginning, so the claim alone is enough to say no.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from receiver.domain.approval import APPROVAL
from receiver.domain.case import Approved, Ended, Executed
from receiver.domain.job import job_of, lock_names
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.playbook import Playbook
from receiver.domain.proposal import Rehearsal
from receiver.domain.run import Job, Rung, RunResult
from receiver.domain.steps import batches, may_live_until, picked_up
from receiver.domain.table import first_no
from receiver.errors import Retry
from receiver.evidence import Grounds
from receiver.ports import Clearance, Locks, Runner, Runs, Steps
from receiver.rehearsing import dry_run
from receiver.stepping import OF_AN_END, begin_once, holding, patiently, walk

#: how long to wait for role plan's word before the locks are given back
CLEARANCE_SECONDS = 20.0
#: a run of this machine is looked after so often
_LOOK_AGAIN = timedelta(seconds=10)
_HERE = tuple(row for row in APPROVAL if not {"forge", "source"}.intersection(row.needs))
_CLAIMED = (
    "this run was claimed before, and no beginning of it is recorded here: the executor died before it made a process, "
    "or this database was restored since"
)
_ENDS = {
    "failed": Outcome.FAILED,
    "timeout": Outcome.FAILED,
    "cancelled": Outcome.CANCELLED,
    "interrupted": Outcome.INTERRUPTED,
}


async def execute(
    case: Approved, *, grounds: Grounds, steps: Steps, runner: Runner, locks: Locks, instance: str
) -> Executed | Ended:
    """Run the approved bytes, once."""
    run = case.runfile.run
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    begun = await grounds.runs.attempt_of(run, "run")
    if begun is not None:
        gone = instance if await runner.is_over(run) else None
        picked = await _pick_up(case, playbook, begun, grounds, steps, gone)
        await locks.free(run)
        return picked
    by = await steps.called_off(run)
    if by is not None:
        await locks.free(run)
        return case.end(Outcome.CANCELLED, f"called off by {by} before it began", reason="called_off")
    names = lock_names(playbook, case.runfile, revision.inventory)
    async with holding(locks, run, case.id, names, f"{playbook.id} in run {run}"):
        return await _locked(case, grounds, steps, runner, instance)


async def _locked(case: Approved, grounds: Grounds, steps: Steps, runner: Runner, instance: str) -> Executed | Ended:
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
    jobs = await _jobs(case, grounds, isolation)
    off = await _last_look(case, grounds, steps)
    if off is not None:
        return off
    attempt = await begin_once(case.runfile.run, case.id, instance, branches=grounds.branches, runs=grounds.runs)
    if attempt is None:
        return case.end(Outcome.INTERRUPTED, _CLAIMED, reason="claim")
    result = await walk(
        case, jobs, attempt=attempt, runs=grounds.runs, steps=steps, runner=runner, ledger=grounds.ledger
    )
    await patiently(partial(grounds.runs.finish, attempt, result), OF_AN_END)
    return _ended(case, result, clearance)


async def _last_look(case: Approved, grounds: Grounds, steps: Steps) -> Ended | None:
    """Just before it begins; a database that does not answer starts nothing."""
    paused, by = await grounds.gate.paused(), await steps.called_off(case.runfile.run)
    if by is not None:
        return case.end(Outcome.CANCELLED, f"called off by {by} before it began", reason="called_off")
    if paused:
        raise Retry(paused, after_seconds=10)
    return None


async def _jobs(case: Approved, grounds: Grounds, isolation: Rung) -> list[Job]:
    """One for each step, of the approved bytes."""
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    files = await grounds.repo.files(case.revision, playbook.path)
    return [
        job_of(
            case.runfile,
            playbook,
            revision.inventory,
            files,
            mode="run",
            isolation=isolation,
            collections=revision.collections,
            hosts=hosts,
        )
        for hosts in batches(playbook, case.runfile.targets)
    ]


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


async def _pick_up(
    case: Approved,
    playbook: Playbook,
    begun: tuple[str, RunResult | None],
    grounds: Grounds,
    steps: Steps,
    gone: str | None,
) -> Executed | Ended:
    """A beginning was found: its end is taken over, or it is said what is known, and what is not.

    The locks stay as long as a process of it may live: an executor that is cut off alone goes on with its run, and so
    does one of this very data directory. `gone`: the instance of which nothing is at work any more.
    """
    attempt, result = begun
    if result is None:
        hosts, now = batches(playbook, case.runfile.targets), await grounds.ledger.now()
        walked = await steps.steps(case.runfile.run)
        until = may_live_until(walked, playbook.limits.timeout_seconds, gone)
        if until is not None and now < until:
            why = f"its executor fell silent; what it began may be at work until {until:%H:%M:%S} UTC"
            raise Retry(why, at=until if gone else min(until, now + _LOOK_AGAIN))
        result = picked_up(walked, hosts, now)
        await grounds.runs.finish(attempt, result)
    return _ended(case, result, None)


def _ended(case: Approved, result: RunResult, clearance: Clearance | None) -> Executed | Ended:
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
