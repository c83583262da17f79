"""Vetted → Ended: a run that only reads, without a proposal, since the merged policy lists it.

The policy that people merged is the approval, given in advance; the table in `domain/standing.py` is asked of the
bytes that would run, just before the start. Everything else is as for any run: locks, isolation, the claim, and a
beginning that is recorded before there is a process. Found begun without an end, it is `interrupted`.
"""

from __future__ import annotations

from functools import partial

from receiver.domain.case import Ended, Vetted
from receiver.domain.job import job_of, lock_names
from receiver.domain.outcome import Outcome
from receiver.domain.proposal import Answer
from receiver.domain.run import RunResult
from receiver.domain.standing import STANDING
from receiver.domain.table import answer_all, first_no
from receiver.errors import Broken, Retry
from receiver.evidence import Grounds
from receiver.ports import Locks, Runner, Steps
from receiver.stepping import OF_AN_END, begin_once, holding, patiently, timed

_UNKNOWN = "the executor died in the middle of it; what it found is not known"
_ENDS = {
    "successful": Outcome.DIAGNOSED,
    "failed": Outcome.FAILED,
    "timeout": Outcome.FAILED,
    "cancelled": Outcome.CANCELLED,
    "interrupted": Outcome.INTERRUPTED,
}


async def read(case: Vetted, *, grounds: Grounds, steps: Steps, runner: Runner, locks: Locks, instance: str) -> Ended:
    """Run it once; what it found is its log."""
    run = case.runfile.run
    begun = await grounds.runs.attempt_of(run, "run")
    if begun is not None:
        await locks.free(run)
        return _ended(case, begun[1] or await _unknown(begun[0], grounds), ())
    if await grounds.ledger.now() >= case.runfile.expires_at:
        await locks.free(run)  # its place in the queue, too
        why = f"nothing could begin it before {case.runfile.expires_at:%Y-%m-%d %H:%M} UTC"
        return case.end(Outcome.EXPIRED, why, reason="in_time")
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    names = lock_names(playbook, case.runfile, revision.inventory)
    async with holding(locks, run, case.id, names, f"{playbook.id} in run {run}"):
        return await _locked(case, grounds, steps, runner, instance)


async def _locked(case: Vetted, grounds: Grounds, steps: Steps, runner: Runner, instance: str) -> Ended:
    """With the locks in hand: the table, the claim, the run."""
    if case.scheduled is None:
        raise Broken(f"case {case.id} has an approval in advance and no schedule")
    isolation = await runner.isolation()
    by = await steps.called_off(case.runfile.run)
    if by is not None:
        return case.end(Outcome.CANCELLED, f"called off by {by} before it began", reason="called_off")
    grant = await grounds.grant(case, case.scheduled, isolation)
    no = first_no(STANDING, grant)
    answers = answer_all(STANDING, grant)
    if no is not None:
        row, why = no
        if row.fails_as is None:
            raise Retry(why, after_seconds=10)
        return case.end(row.fails_as, why, reason=row.name, asked=answers)
    revision = await grounds.repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    files = await grounds.repo.files(case.revision, playbook.path)
    job = job_of(
        case.runfile, playbook, revision.inventory, files,
        mode="run", isolation=isolation, collections=revision.collections,
    )  # fmt: skip
    attempt = await begin_once(case.runfile.run, case.id, instance, branches=grounds.branches, runs=grounds.runs)
    if attempt is None:
        why = "this run was claimed or begun before; what it found is not known"
        return case.end(Outcome.INTERRUPTED, why, reason="claim", asked=answers)
    runs = grounds.runs
    ran = await runner.run(job, lambda events: runs.record(attempt, events), lambda: runs.cancelled(attempt))
    result = await timed(ran, grounds.ledger)
    await patiently(partial(runs.finish, attempt, result), OF_AN_END)
    return _ended(case, result, answers)


async def _unknown(attempt: str, grounds: Grounds) -> RunResult:
    now = await grounds.ledger.now()
    result = RunResult(status="interrupted", why=_UNKNOWN, started_at=now, ended_at=now)
    await grounds.runs.finish(attempt, result)
    return result


def _ended(case: Vetted, result: RunResult, answers: tuple[Answer, ...]) -> Ended:
    found = f"read by {case.runfile.playbook}: see its log"
    why = found if result.status == "successful" else f"it ended {result.status}: {result.why}".removesuffix(": ")
    return case.end(_ENDS[result.status], why, result=result, asked=answers)
