"""Vetted → Rehearsed: a dry run of exactly the proposed run, on the real targets.

Rehearsal is execution (rule S5): bounded in number, isolated alike, and only for what the guard vetted. A dry
run that does not end well ends the case; one that a crash cut short is done again, once.
"""

from __future__ import annotations

from receiver.domain.case import Ended, Rehearsed, Vetted
from receiver.domain.outcome import Outcome
from receiver.errors import Retry
from receiver.ports import Gate, Repo, Runner, Runs
from receiver.rehearsing import dry_run


async def rehearse(
    case: Vetted, *, repo: Repo, runs: Runs, runner: Runner, gate: Gate, instance: str
) -> Rehearsed | Ended:
    """Run `--check --diff` and keep what it says."""
    paused = await gate.paused()
    if paused:
        raise Retry(paused, after_seconds=10)
    revision = await repo.revision(case.revision)
    isolation = await runner.isolation()
    sites = {revision.inventory.hosts[name].site for name in case.runfile.targets}
    if isolation == "none" and not sites.issubset(revision.policy.isolation_none_allowed):
        why = "no sandbox works here, and policy.yml does not allow none for this site: gitmedic doctor"
        return case.end(Outcome.REFUSED, why, reason="isolation")
    rehearsal = await dry_run(case, repo=repo, runs=runs, runner=runner, isolation=isolation, instance=instance)
    result = rehearsal.result
    rehearsed = case.become(Rehearsed, rehearsals=(rehearsal,))
    if result.status == "successful":
        return rehearsed
    outcome = Outcome.CANCELLED if result.status == "cancelled" else Outcome.REHEARSAL_FAILED
    return rehearsed.end(outcome, f"the dry run ended {result.status}: {result.why}")
