"""Gathers what the approval table asks, from as many ports as the place has.

Decides nothing. Used at the merge (git, forge, database), by the clearance (all of these and the source), and
by the executor (git and the database only: it trusts neither the forge nor the source for itself).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from receiver.domain.approval import Merge
from receiver.domain.case import Approved, Closed, Executed, Proposed, Vetted
from receiver.domain.entity import entity_of
from receiver.domain.forge import Account, Posture, PullRequest
from receiver.domain.inventory import targets_digest
from receiver.domain.job import job_hosts
from receiver.domain.landing import Landing, Trees
from receiver.domain.lint import check_tasks
from receiver.domain.outcome import Risk
from receiver.domain.place import Routing
from receiver.domain.playbook import Playbook
from receiver.domain.policyfile import Policy
from receiver.domain.proof import Check, Confirmation, Reading
from receiver.domain.quorum import approval_text, merged_at, person_of
from receiver.domain.revision import Revision
from receiver.domain.runfile import Pins
from receiver.domain.standing import Grant, find
from receiver.domain.timetable import Scheduled, hosts_of
from receiver.errors import Invalid, Refused
from receiver.ports import Branches, Gate, Ledger, Proof, Repo, Runs, Signatures


@dataclass(frozen=True)
class Grounds:
    """Where the evidence comes from, the same for all three that ask."""

    repo: Repo  #: the catalog's
    branches: Branches  #: of the place that takes the run file
    ledger: Ledger
    gate: Gate
    runs: Runs
    signatures: Signatures
    base: str  #: the protected branch
    bot: Account  #: our own account
    repository: str  #: the forge's own number of the repository
    forge: str  #: the forge's name
    routing: Routing = field(default_factory=Routing)

    async def gather(
        self,
        case: Proposed | Approved,
        merge_sha: str | None,
        *,
        pull_request: PullRequest | None = None,
        confirmation: Confirmation | None = None,
        reading: Reading | None = None,
        isolation: str | None = None,
        posture: Posture | None = None,
    ) -> Merge:
        """The evidence about one merge; what is not given stays unasked."""
        vetted = await self.repo.revision(case.revision)
        adopted = await self.repo.revision(await self.repo.adopted())
        playbook = vetted.catalog.playbooks[case.runfile.playbook]
        landing = await self._landing(case, merge_sha, adopted, playbook)
        try:
            digest = targets_digest(adopted.inventory, case.runfile.targets)
            hosts = job_hosts(adopted.inventory, case.runfile.targets)
        except Refused:
            digest, hosts = "", ()
        now = await self.ledger.now()
        approved_at = case.approval.at if isinstance(case, Approved) else None
        if approved_at is None and pull_request is not None:
            approved_at = merged_at(pull_request, now)
        return Merge(
            now=now,
            proposal=case.proposal,
            runfile=case.runfile,
            risk=case.risk,
            requested_by=case.requested_by,
            policy=vetted.policy,
            policy_now=adopted.policy if adopted.policy != vetted.policy else None,
            forge=self.forge,
            bot=self.bot,
            repository=self.repository,
            base=self.base,
            pull_request=pull_request,
            landing=landing,
            targets_digest=digest,
            hosts=hosts,
            begun=await self.runs.attempt_of(case.runfile.run, "run") is not None,
            fresh=approved_at is not None and approved_at >= await self.gate.fresh_since(),
            paused=await self.gate.paused(),
            isolation=isolation,
            posture=posture,
            signed_by=await self._signed_by(case, vetted.policy, adopted.policy, pull_request),
            labels=dict(case.alert.labels) if case.alert else {},
            routing=self.routing,
            sites=tuple({vetted.inventory.hosts[name].site for name in case.runfile.targets}),
            confirmation=confirmation,
            reading=reading,
            has_alert=case.alert is not None,
            unseen=case.rehearsals[-1].result.preview_ends if case.rehearsals else (),
        )

    async def _landing(
        self, case: Proposed | Approved, merge_sha: str | None, adopted: Revision, playbook: Playbook
    ) -> Landing:
        """The run file as its own repository has it, and what it stands on as the catalog's has it."""
        landing = await self.branches.landing(case.proposal, merge_sha)
        trees: Trees | None
        try:
            trees = await self.repo.trees(adopted.commit, playbook.path)
        except Invalid:
            trees = None  # the revision in force has no such playbook
        return landing.model_copy(update={"trees": trees})

    async def grant(self, case: Vetted, scheduled: Scheduled, isolation: str) -> Grant:
        """The evidence about one reading run that no proposal carries."""
        vetted = await self.repo.revision(case.revision)
        adopted = await self.repo.revision(await self.repo.adopted())
        playbook, runfile = vetted.catalog.playbooks[case.runfile.playbook], case.runfile
        known = adopted.catalog.playbooks.get(playbook.id)
        schedule = find(adopted.policy, scheduled.schedule)
        try:
            digest = targets_digest(adopted.inventory, runfile.targets)
        except Refused:
            digest = ""
        return Grant(
            now=await self.ledger.now(),
            scheduled=scheduled,
            by_policy=case.requested_by.startswith("policy:"),
            runfile=runfile,
            playbook=playbook,
            hosts=hosts_of(schedule, adopted.inventory) if schedule is not None else (),
            policies=(vetted.policy,) if adopted.policy == vetted.policy else (vetted.policy, adopted.policy),
            effect=effect_of(await self.repo.files(case.revision, playbook.path), playbook.path),
            trees=await self.repo.trees(adopted.commit, playbook.path) if known is not None else None,
            targets_digest=digest,
            begun=await self.runs.attempt_of(runfile.run, "run") is not None,
            fresh=case.standing is not None and case.standing.at >= await self.gate.fresh_since(),
            paused=await self.gate.paused(),
            isolation=isolation,
            sites=tuple({vetted.inventory.hosts[name].site for name in runfile.targets}),
        )

    async def _signed_by(
        self, case: Proposed | Approved, policy: Policy, policy_now: Policy, pull: PullRequest | None
    ) -> tuple[str, ...]:
        """People whose signature over this head holds by a key that the policy knew and still knows, from wherever."""
        if case.risk.rank < Risk.HIGH.rank:
            return ()
        given = [(one.person, one.text) for one in case.approval.signatures] if isinstance(case, Approved) else []
        for review in pull.reviews if pull is not None else ():
            person = person_of(policy, review.by)
            if person is not None and review.verdict == "approve" and review.signature:
                given.append((person.name, review.signature))
        known = {person.name: person.ssh_keys for person in policy_now.people}
        keys = {
            person.name: tuple(key for key in person.ssh_keys if key in known.get(person.name, ()))
            for person in policy.people
        }
        text = approval_text(self.repository, case.proposal)
        return tuple(
            sorted({name for name, one in given if await self.signatures.is_by(text, one, keys.get(name, ()))})
        )


async def checks_of(
    case: Approved | Executed | Closed, hosts: Sequence[str], *, proof: Proof, repo: Repo, newer_than: datetime
) -> tuple[Check, ...]:
    """The playbook's verify queries, asked for each of these hosts by itself."""
    if case.runfile is None or case.revision is None:
        return ()
    revision = await repo.revision(case.revision)
    playbook, params = revision.catalog.playbooks[case.runfile.playbook], case.runfile.params
    about = [(case.entity, params)] if case.entity is not None else []
    if case.entity is None or len(case.runfile.targets) > 1:
        known, param = revision.inventory.hosts, playbook.targets.param
        about = [(entity_of(known[name]), {**params, param: name}) for name in hosts]
    return tuple(
        [
            await proof.check(case.alert, query, asked, entity, revision.inventory, newer_than=newer_than)
            for entity, asked in about
            for query in playbook.verify
        ]
    )


def effect_of(files: Mapping[str, bytes], where: str) -> str:
    """`read`, or why these very bytes do not only read. A role that comes along is not looked into, so it is a no."""
    role = next((name for name in files if name.startswith("roles/")), None)
    if role is not None:
        return f"{role} comes along, and what roles do is not read"
    try:
        return check_tasks(files, where=where)
    except Refused as error:
        return error.message


async def pins_of(repo: Repo, revision: Revision, playbook: Playbook, targets: tuple[str, ...]) -> Pins:
    """What a run file of this revision pins."""
    trees = await repo.trees(revision.commit, playbook.path)
    return Pins(
        playbook=trees.playbook,
        roles=trees.roles,
        collections=trees.collections,
        targets=targets_digest(revision.inventory, targets),
    )


def hold_seconds(for_seconds: float, interval_seconds: float) -> float:
    """How long an alert must stay away before anybody believes it: `for` and two evaluations."""
    return for_seconds + 2 * interval_seconds
