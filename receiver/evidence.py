"""Gathers what the approval table asks, from as many ports as the place has.

Decides nothing. Used at the merge (git, forge, database), by the clearance (all of these and the source), and
by the executor (git and the database only: it trusts neither the forge nor the source for itself).
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.approval import Merge
from receiver.domain.case import Approved, Proposed
from receiver.domain.inventory import targets_digest
from receiver.domain.job import job_hosts
from receiver.domain.proof import Confirmation, Reading
from receiver.domain.proposal import PullRequest
from receiver.errors import Refused
from receiver.ports import Branches, Gate, Ledger, Repo, Runs


@dataclass(frozen=True)
class Grounds:
    """Where the evidence comes from, the same at all three places that ask."""

    repo: Repo
    branches: Branches
    ledger: Ledger
    gate: Gate
    runs: Runs
    base: str  #: the protected branch
    bot: str  #: our own account
    forge: str  #: the forge's name

    async def gather(
        self,
        case: Proposed | Approved,
        merge_sha: str | None,
        *,
        pull_request: PullRequest | None = None,
        confirmation: Confirmation | None = None,
        reading: Reading | None = None,
        isolation: str | None = None,
    ) -> Merge:
        """The evidence about one merge; what is not given stays unasked."""
        vetted = await self.repo.revision(case.revision)
        adopted = await self.repo.revision(await self.repo.adopted())
        playbook = vetted.catalog.playbooks[case.runfile.playbook]
        landing = await self.branches.landing(case.proposal, merge_sha, playbook.path)
        try:
            digest = targets_digest(adopted.inventory, case.runfile.targets)
            hosts = job_hosts(adopted.inventory, case.runfile.targets)
        except Refused:
            digest, hosts = "", ()
        approved_at = case.approval.at if isinstance(case, Approved) else None
        if approved_at is None and pull_request is not None:
            approved_at = pull_request.merged_at
        return Merge(
            now=await self.ledger.now(),
            proposal=case.proposal,
            runfile=case.runfile,
            risk=case.risk,
            requested_by=case.requested_by,
            policy=vetted.policy,
            forge=self.forge,
            bot=self.bot,
            base=self.base,
            pull_request=pull_request,
            landing=landing,
            targets_digest=digest,
            hosts=hosts,
            begun=await self.runs.attempt_of(case.runfile.run, "run") is not None,
            fresh=approved_at is not None and approved_at >= await self.gate.fresh_since(),
            paused=await self.gate.paused(),
            isolation=isolation,
            sites=tuple({vetted.inventory.hosts[name].site for name in case.runfile.targets}),
            confirmation=confirmation,
            reading=reading,
            has_alert=case.alert is not None,
        )


def hold_seconds(for_seconds: float, interval_seconds: float) -> float:
    """How long an alert must stay away before anybody believes it: `for` and two evaluations."""
    return for_seconds + 2 * interval_seconds
