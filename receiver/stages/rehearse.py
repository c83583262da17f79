"""Vetted → Rehearsed: a dry run of exactly the proposed run, on the real targets.

Rehearsal is execution (rule S5): bounded in number, isolated alike, and only for what the guard vetted. A dry
run that does not end well ends the case; one that a crash cut short is done again, once.
"""

from __future__ import annotations

from receiver.domain.case import Ended, Rehearsed, Vetted
from receiver.domain.job import job_of
from receiver.domain.outcome import Outcome
from receiver.domain.proposal import Rehearsal
from receiver.errors import Retry
from receiver.ports import Gate, Repo, Runner, Runs


async def rehearse(
    case: Vetted, *, repo: Repo, runs: Runs, runner: Runner, gate: Gate, instance: str
) -> Rehearsed | Ended:
    """Run `--check --diff` and keep what it says."""
    paused = await gate.paused()
    if paused:
        raise Retry(paused, after_seconds=10)
    revision = await repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    isolation = await runner.isolation()
    sites = {revision.inventory.hosts[name].site for name in case.runfile.targets}
    if isolation == "none" and not sites.issubset(revision.policy.isolation_none_allowed):
        why = "no sandbox works here, and policy.yml does not allow none for this site: gitmedic doctor"
        return case.end(Outcome.REFUSED, why, reason="isolation")
    files = await repo.files(case.revision, playbook.path)
    job = job_of(case.runfile, playbook, revision.inventory, files, mode="check", isolation=isolation)
    most = revision.policy.limits.rehearsals
    attempt = await runs.begin(case.runfile.run, case.id, "check", instance, most=most)
    result = await runner.run(job, lambda events: runs.record(attempt, events), lambda: runs.cancelled(attempt))
    await runs.finish(attempt, result)
    rehearsed = case.become(Rehearsed, rehearsals=(Rehearsal(id=attempt, result=result),))
    if result.status == "successful":
        return rehearsed
    outcome = Outcome.CANCELLED if result.status == "cancelled" else Outcome.REHEARSAL_FAILED
    return rehearsed.end(outcome, f"the dry run ended {result.status}: {result.why}")
