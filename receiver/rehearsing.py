"""The dry run of a case's own run file, for the stages that need one.

Decides that a rehearsal is a run like any other (rule S5): recorded before it begins, isolated alike, bounded.
"""

from __future__ import annotations

from receiver.domain.case import Approved, Vetted
from receiver.domain.job import job_of
from receiver.domain.proposal import Rehearsal
from receiver.domain.run import Rung
from receiver.ports import Repo, Runner, Runs


async def dry_run(
    case: Vetted | Approved,
    *,
    repo: Repo,
    runs: Runs,
    runner: Runner,
    isolation: Rung,
    instance: str,
) -> Rehearsal:
    """`--check --diff` of exactly that run on its real targets; raises `Retry` while too many are under way."""
    revision = await repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    files = await repo.files(case.revision, playbook.path)
    job = job_of(
        case.runfile, playbook, revision.inventory, files,
        mode="check", isolation=isolation, collections=revision.collections,
    )  # fmt: skip
    most = revision.policy.limits.rehearsals
    attempt = await runs.begin(case.runfile.run, case.id, "check", instance, most=most)
    result = await runner.run(job, lambda events: runs.record(attempt, events), lambda: runs.cancelled(attempt))
    await runs.finish(attempt, result)
    return Rehearsal(id=attempt, result=result)
