"""What a person may do to a case: approve, reject, dispatch, call off, accept a revision. What is said of an
interrupted run is `aftermath`.

Decides who may, by the policy in force; every act has a named person behind it (rule S9). Refuses tokens,
old heads, people whom policy.yml does not name, and a word that comes too late. All doors (web, command
line, API) come through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from receiver.domain.case import Planned, Proposed
from receiver.domain.entity import entity_of
from receiver.domain.forge import Review, person_account
from receiver.domain.outcome import Mode, Risk
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import Playbook, check_params
from receiver.domain.policyfile import Person, Policy
from receiver.domain.proposal import Proposal
from receiver.domain.quorum import Vote, approval_text, may_approve, missing, reach_of, still_to_accept
from receiver.domain.revision import Revision
from receiver.domain.runfile import RunFile
from receiver.domain.text import plain
from receiver.errors import Refused
from receiver.evidence import pins_of
from receiver.identity import new_id
from receiver.places import Place, Places
from receiver.ports import Acceptances, Archive, Clock, Desk, Event, Repo, Signatures


@dataclass(frozen=True)
class Doors:
    """The acts of people, in one place."""

    archive: Archive
    desk: Desk
    places: Places
    repo: Repo
    signatures: Signatures
    acceptances: Acceptances
    clock: Clock

    async def policy(self) -> Policy:
        """The policy in force."""
        return (await self.repo.revision(await self.repo.adopted())).policy

    async def approve(
        self, case: str, *, head_sha: str, person: Person, via: str, signature: str = ""
    ) -> dict[str, Any]:
        """Approve this head, and merge it once that is enough; `via` is `session` or `terminal`. The case as JSON."""
        proposed = await self._proposed(case)
        if not may_approve(person, proposed.risk):
            raise Refused(
                f"approving case {case}: {person.name} may not approve risk {proposed.risk}",
                next_step="set `approves` for this person in policy.yml",
                reason="not_entitled",
            )
        if proposed.risk.rank >= Risk.HIGH.rank:
            await self._check_signature(proposed, person, signature)
        number, review = proposed.proposal.number, self.places.of(proposed.proposal).review
        lacking = await self._lacking(proposed, head_sha, person, via)
        act = review.approve_and_merge if lacking is None else review.approve
        await act(number, head_sha, person.name, via, signature=signature)
        if lacking is None:
            await self._note(case, "proposal.approved", person, via, f"approved and merged head {head_sha[:12]}")
        else:
            said = f"approved head {head_sha[:12]}; still required: {lacking}"
            await self._note(case, "proposal.reviewed", person, via, said)
        return await self._case(case)

    async def to_sign(self, case: str) -> str:
        """What a person signs to approve this proposal from risk high."""
        return self._text((await self._proposed(case)).proposal)

    def _text(self, proposal: Proposal) -> str:
        return approval_text(self.places.of(proposal).repository, proposal)

    async def _lacking(self, proposed: Proposed, head_sha: str, person: Person, via: str) -> str | None:
        """What the count lacks once this person has said yes; a merge before it is enough would run nothing."""
        pull = await self.places.of(proposed.proposal).forge.read(proposed.proposal.number)
        word = Review(
            by=person_account(person.name), head_sha=head_sha, verdict="approve", at=self.clock.now(), via=via
        )
        # by the policy of then and of now, as the approval itself is counted
        for policy in ((await self.repo.revision(proposed.revision)).policy, await self.policy()):
            vote = Vote(
                policy=policy, pull=pull.model_copy(update={"reviews": (*pull.reviews, word)}), head_sha=head_sha,
                risk=proposed.risk, requested_by=proposed.requested_by, author=proposed.proposal.author,
                labels=dict(proposed.alert.labels) if proposed.alert else {}, playbook=proposed.runfile.playbook,
                host=next(iter(proposed.runfile.targets), None),
                unseen=proposed.rehearsals[-1].result.preview_ends if proposed.rehearsals else (),
            )  # fmt: skip
            lacking = missing(vote)
            if lacking is not None:
                return lacking
        return None

    async def _check_signature(self, proposed: Proposed, person: Person, signature: str) -> None:
        """Rule S9: wrong or missing is said before anything is recorded."""
        text = self._text(proposed.proposal)
        if signature and await self.signatures.is_by(text, signature, person.ssh_keys):
            return
        said = f"approving case {proposed.id}: risk {proposed.risk} needs {person.name}'s ssh signature over the digest"
        if signature:
            said += "; the one given is by none of the keys that policy.yml names, or over something else"
        raise Refused(said, next_step=f"gitmedic approve {proposed.id} --sign KEY", reason="needs_signature")

    async def reject(self, case: str, *, person: Person, via: str, why: str = "") -> dict[str, Any]:
        """Close the proposal; nothing will run."""
        proposed = await self._proposed(case)
        if not may_approve(person, proposed.risk):
            raise Refused(
                f"rejecting case {case}: {person.name} may not decide about risk {proposed.risk}",
                next_step="set `approves` for this person in policy.yml",
                reason="not_entitled",
            )
        review = self.places.of(proposed.proposal).review
        await review.reject(proposed.proposal.number, person.name, via, why)
        await self._note(case, "proposal.rejected", person, via, why or "rejected")
        return await self._case(case)

    async def accept_revision(self, *, old: str, new: str, digest: str, person: Person, via: str) -> str | None:
        """One person's word for a revision; in force once enough have given theirs. Gives what is still missing."""
        policy = await self.policy()
        if not may_approve(person, reach_of(policy)):
            raise Refused(
                f"accepting revision {new[:12]}: {person.name} may not approve as far as the most entitled",
                next_step="ask one of the people whom policy.yml lets approve most",
                reason="not_entitled",
            )
        names = await self.acceptances.accept(old, new, digest, person=person.name, via=via)
        lacking = still_to_accept(policy, names)
        if lacking is None:
            kind = "user" if via == "session" else "os"
            await self.desk.adopt(new, old=old, digest=digest, actor=f"{kind}:{','.join(names)}")
        return lacking

    async def dispatch(self, playbook: str, params: dict[str, Any], *, actor: str, reason: str) -> str:
        """Begin a case by hand; it meets the same guard and the same proposal. Gives the case id."""
        revision, known = await self._known(playbook, params)
        target = revision.inventory.hosts.get(str(params.get(known.targets.param)))
        plan = Plan(action="playbook", playbook=playbook, params=params, why=reason or f"dispatched by {actor}")
        case = Planned(
            id=new_id(),
            opened_at=self.clock.now(),
            revision=revision.commit,
            mode=Mode.PROPOSE,
            entity=entity_of(target) if target else None,
            plan=plan,
            requested_by=actor,
            attempts=(Attempt(tier="person", verdict="accepted", why=plan.why),),
        )
        await self.desk.open(case, [Event(kind="case.planned", actor=actor, text=plan.why)])
        return case.id

    async def write_runfile(
        self, playbook: str, params: dict[str, Any], *, actor: str, reason: str, days: int = 2
    ) -> RunFile:
        """The run file for a pull request of one's own; begins nothing. Raises `Refused` where it could not run."""
        revision, known = await self._known(playbook, params)
        named = params.get(known.targets.param)
        targets = tuple(str(name) for name in (named if isinstance(named, list) else [named]))
        unknown = next((name for name in targets if name not in revision.inventory.hosts), None)
        if unknown is not None:
            raise Refused(
                f"writing a run file: host {unknown!r:.80} is not in the inventory",
                next_step="gitmedic catalog show " + playbook,
                reason="unknown_host",
            )
        return RunFile(
            run=new_id(),
            playbook=known.id,
            targets=targets,
            params=params,
            revision=revision.commit,
            pins=await pins_of(self.repo, revision, known, targets),
            case=new_id(),
            reason=plain(reason) or f"dispatched by {actor}",
            requested_by=actor,
            expires_at=self.clock.now().replace(microsecond=0) + timedelta(days=days),
        )

    async def place_of(self, runfile: RunFile) -> Place:
        """Where a pull request with this run file belongs."""
        hosts = (await self.repo.revision(runfile.revision)).inventory.hosts
        return self.places.of_sites(hosts[name].site for name in runfile.targets)

    async def _known(self, playbook: str, params: dict[str, Any]) -> tuple[Revision, Playbook]:
        revision = await self.repo.revision(await self.repo.adopted())
        known = revision.catalog.playbooks.get(playbook)
        if known is None:
            problem = revision.catalog.problem_of(playbook)
            raise Refused(
                f"dispatching {playbook!r}: " + (problem or "no such playbook in the adopted catalog"),
                next_step="gitmedic catalog lint" if problem else "gitmedic catalog list",
                reason="unknown_playbook",
            )
        check_params(known, params)
        return revision, known

    async def cancel(self, run: str, *, actor: str) -> None:
        """Ask a running run to stop, with all of its processes, or keep an approved one from beginning."""
        if not await self.desk.cancel(run, actor):
            raise Refused(
                f"cancelling run {run}: it neither runs nor waits for its turn",
                next_step="gitmedic reject CASE, while its proposal is open", reason="not_running",
            )  # fmt: skip

    async def _proposed(self, case: str) -> Proposed:
        found = await self.archive.stored(case)
        if not isinstance(found, Proposed):
            raise Refused(
                f"deciding on case {case}: it is {found.kind if found else 'unknown'}, no open proposal",
                next_step=f"gitmedic case show {case}",
                reason="not_proposed",
            )
        return found

    async def _case(self, case: str) -> dict[str, Any]:
        found = await self.archive.case(case)
        if found is None:
            raise Refused(f"no case {case!r}", next_step="gitmedic case list", reason="unknown_case")
        return found

    async def _note(self, case: str, kind: str, person: Person, via: str, text: str) -> None:
        actor = f"user:{person.name}" if via == "session" else f"os:{person.name}"
        await self.desk.note(case, Event(kind=kind, actor=actor, text=text, data={"via": via}), wake=True)
