"""After a run that went wrong: looking again, proposing again, closing with words; and running again where it failed.

Decides what a person may do about an interrupted run, whose outcome nobody knows, until it is settled: its case keeps
an owner. Refuses what would hide something: a second word after it was settled, a retry of what did not fail. Nothing
runs from here: a new case goes the whole way, through guard, dry run and proposal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from receiver.domain.case import Closed, Planned
from receiver.domain.outcome import Mode, Outcome, Verdict
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import check_params
from receiver.domain.policyfile import Person
from receiver.domain.quorum import may_approve
from receiver.domain.resolution import Act, Resolution
from receiver.errors import Conflict, GitmedicError, Refused
from receiver.identity import new_id
from receiver.ports import Archive, Clock, Desk, Event, Logs, Proof, Repo, Resolutions
from receiver.stages.verify import look_again

_RETRIED = (Outcome.FAILED, Outcome.CANCELLED)


@dataclass(frozen=True)
class Aftermath:
    """The acts of people on runs that ended badly."""

    archive: Archive
    logs: Logs
    desk: Desk
    repo: Repo
    resolutions: Resolutions
    clock: Clock

    async def resolve(self, case: str, act: Act, *, person: Person, reason: str = "") -> Resolution:
        """One word about an interrupted run. `verify` is answered by the plan role in a moment."""
        closed = await self._interrupted(case)
        actor = f"user:{person.name}"  # whatever the machine or the forge calls them: rule S8 maps it
        if act != "verify" and closed.risk is not None and not may_approve(person, closed.risk):
            raise Refused(
                f"resolving case {case}: {person.name} may not decide about risk {closed.risk}",
                next_step="set `approves` for this person in policy.yml", reason="not_entitled",
            )  # fmt: skip
        if act == "propose" and not person.dispatches:
            raise Refused(
                f"proposing case {case} again: {person.name} may not dispatch",
                next_step="set `dispatches: yes` for this person in policy.yml", reason="not_entitled",
            )  # fmt: skip
        if act == "close" and not reason:
            raise Refused(
                f"closing case {case}: say what became of it",
                next_step=f"gitmedic case resolve {case} --close --reason WORDS", reason="invalid",
            )  # fmt: skip
        opened = None
        if act == "propose":
            why = f"proposed again after the interrupted run of case {closed.id}" + (f": {reason}" if reason else "")
            opened = await self._again(closed, None, actor=actor, why=why)
        id = opened.id if opened is not None else None
        word = Resolution(act=act, actor=actor, reason=reason, opened=id, settles=act != "verify")
        if not await self.resolutions.say(case, word, opened):
            raise Conflict(f"resolving case {case}: somebody else has settled it")
        return word

    async def retry(self, run: str, *, actor: str, reason: str = "") -> str:
        """A new case for the hosts on which this run failed, or which it did not touch; its id."""
        found = await self.logs.run(run)
        closed = await self.archive.stored(str(found["case"])) if found else None
        if closed is None:
            raise Refused(
                f"retrying run {run!r:.60}: there is none", next_step="gitmedic case list", reason="unknown_run"
            )
        if not isinstance(closed, Closed):
            raise Refused(
                f"retrying run {run}: its case is {closed.kind}, not closed",
                next_step=f"gitmedic case watch {closed.id}", reason="case_open",
            )  # fmt: skip
        if closed.outcome is Outcome.INTERRUPTED:
            raise Refused(
                f"retrying run {run}: what it did is not known",
                next_step=f"gitmedic case resolve {closed.id} --verify", reason="interrupted",
            )  # fmt: skip
        hosts = not_done(closed)
        if closed.outcome not in _RETRIED or not hosts:
            raise Refused(
                f"retrying run {run}: nothing failed in it, its case ended {closed.outcome}",
                next_step=f"gitmedic dispatch {closed.runfile.playbook if closed.runfile else 'PLAYBOOK'}",
                reason="nothing_failed",
            )  # fmt: skip
        why = f"run {run} again on {', '.join(hosts)}" + (f": {reason}" if reason else "")
        again = await self._again(closed, hosts, actor=actor, why=why)
        await self.desk.open(again, [Event(kind="case.planned", actor=actor, text=why, data={"after": closed.id})])
        return again.id

    async def _again(self, closed: Closed, hosts: tuple[str, ...] | None, *, actor: str, why: str) -> Planned:
        """The same playbook for the same alert, as the revision in force has it; on fewer hosts, if said."""
        revision = await self.repo.revision(await self.repo.adopted())
        known = revision.catalog.playbooks.get(closed.plan.playbook or "") if closed.plan else None
        if closed.plan is None or known is None:
            raise Refused(
                f"proposing case {closed.id} again: its playbook is not in the adopted catalog",
                next_step="gitmedic catalog list", reason="unknown_playbook",
            )  # fmt: skip
        params: dict[str, Any] = dict(closed.plan.params)
        if hosts is not None and known.takes_hosts:
            params[known.targets.param] = list(hosts)
        check_params(known, params)
        return Planned(
            id=new_id(), opened_at=self.clock.now(), alert=closed.alert, revision=revision.commit,
            mode=closed.mode or Mode.PROPOSE, entity=closed.entity, unresolved=closed.unresolved, facts=closed.facts,
            confirmation=closed.confirmation, requested_by=actor,
            plan=Plan(action="playbook", playbook=known.id, params=params, why=why),
            attempts=(Attempt(tier="person", verdict="accepted", why=why),),
        )  # fmt: skip

    async def _interrupted(self, case: str) -> Closed:
        found = await self.archive.stored(case)
        if not isinstance(found, Closed) or found.outcome is not Outcome.INTERRUPTED:
            state = "unknown" if found is None else getattr(found, "outcome", found.kind)
            raise Refused(
                f"resolving case {case}: it is {state}, no interrupted run",
                next_step="gitmedic case list --outcome interrupted", reason="not_interrupted",
            )  # fmt: skip
        if any(word.settles for word in await self.resolutions.of(case)):
            raise Refused(
                f"resolving case {case}: it is settled", next_step=f"gitmedic case show {case}", reason="settled"
            )
        return found


def not_done(closed: Closed) -> tuple[str, ...]:
    """The targets on which the run failed, and those that it did not touch."""
    if closed.runfile is None:
        return ()
    stats = closed.result.stats if closed.result is not None else {}
    well = {name for name, one in stats.items() if not one.failures and not one.unreachable}
    return tuple(name for name in closed.runfile.targets if name not in well)


async def look_at_asked(resolutions: Resolutions, archive: Archive, proof: Proof, repo: Repo) -> None:
    """The plan role's part of `verify`: the run's own word counts for nothing, only what is seen now."""
    errors: list[GitmedicError] = []
    for case in await resolutions.asked():
        try:
            closed = await archive.stored(case)
            if isinstance(closed, Closed):
                verification = await look_again(closed, proof=proof, repo=repo)
                await resolutions.answer(case, verification, settles=verification.verdict is Verdict.RESOLVED)
        except GitmedicError as error:  # one that cannot be answered now holds up no other
            errors.append(error)
    if errors:
        raise errors[0]
