"""What policy.yml schedules becomes cases, once for each planned moment; and a person's word to run one now.

Decides nothing about when (that is `domain/timetable.py`) and nothing about what may run: a change is only ever a
proposal, and what only reads runs at once where the merged policy lists it, both decided by the guard as for any case.
Only the adopted revision's policy counts (rule S4). Every planned moment has a row that says what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.domain.case import Planned
from receiver.domain.entity import entity_of
from receiver.domain.outcome import Mode
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import check_params
from receiver.domain.quorum import actors
from receiver.domain.revision import Revision
from receiver.domain.standing import find
from receiver.domain.timetable import MOST_HOSTS, Moment, Schedule, Scheduled, hosts_of, moments, params_for
from receiver.errors import Conflict, GitmedicError, Refused, Retry
from receiver.identity import new_id
from receiver.ports import Gate, Ledger, Notifier, Repo, Schedules


@dataclass(frozen=True)
class Agenda:
    """One look after the other, by any number of planners."""

    repo: Repo
    book: Schedules
    ledger: Ledger
    gate: Gate
    notifier: Notifier

    async def tick(self) -> None:
        """File every moment that became due since the last look."""
        revision = await self.repo.revision(await self.repo.adopted())
        await self.book.keep([schedule.name for schedule in revision.policy.schedules])
        paused = await self.gate.paused() if revision.policy.schedules else None
        for schedule in revision.policy.schedules:
            since = await self.book.since(schedule.name, schedule.rule)
            now = await self.ledger.now()
            upto = since
            observes = revision.policy.mode is not Mode.PROPOSE
            for moment in moments(schedule, since, now, revision.commit, paused=paused, observes=observes):
                await self._file(schedule, moment, revision, now)
                upto = moment.planned_at
            await self.book.passed(schedule.name, upto, schedule.next_at(max(upto, now)) if schedule.enabled else None)

    async def run(self, name: str, *, actor: str) -> Moment:
        """Now, because a person who may dispatch says so; the same checks follow as at its own time."""
        revision = await self.repo.revision(await self.repo.adopted())
        person = next((one for one in revision.policy.people if actor in actors(one)), None)
        if person is None or not person.dispatches:
            raise Refused(
                f"running schedule {name!r:.60}: {actor} may not dispatch",
                next_step="set `dispatches: yes` for this person in policy.yml", reason="not_entitled",
            )  # fmt: skip
        schedule = find(revision.policy, name)
        if schedule is None:
            raise Refused(
                f"running schedule {name!r:.60}: the adopted policy.yml has none of this name",
                next_step="gitmedic schedule list", reason="unknown_schedule",
            )  # fmt: skip
        now = await self.ledger.now()
        moment = Moment(
            schedule=name, planned_at=now, due_at=now, fate="ran", why=f"asked for by {actor}", by=actor,
            commit=revision.commit,
        )  # fmt: skip
        try:
            is_ours = await self.book.file(moment, cases_of(schedule, moment, revision, now))
        except Conflict as error:
            raise Conflict(f"running schedule {name!r}: {error.message}", next_step="gitmedic case list") from None
        if not is_ours:
            raise Conflict(f"running schedule {name!r}: it has gone off this very moment", next_step="ask once more")
        return moment

    async def _file(self, schedule: Schedule, moment: Moment, revision: Revision, now: datetime) -> None:
        cases: list[Planned] = []
        if moment.fate == "ran":
            try:
                cases = cases_of(schedule, moment, revision, now)
            except Retry:
                raise
            except GitmedicError as error:
                moment = moment.model_copy(update={"fate": "refused", "why": error.message})
        try:
            is_ours = await self.book.file(moment, cases)
        except Conflict as error:
            overlap = moment.model_copy(update={"fate": "overlap", "why": error.message})
            is_ours = await self.book.file(overlap, [])
        # a matcher that means no host yet is no mistake
        if is_ours and moment.fate == "refused" and (schedule.hosts or hosts_of(schedule, revision.inventory)):
            await self.notifier.tell(f"schedule {schedule.name} could not run", moment.why)


def cases_of(schedule: Schedule, moment: Moment, revision: Revision, now: datetime) -> list[Planned]:
    """A case for each of its hosts; raises `Refused` where there is none, or what it says fits no playbook."""
    playbook = revision.catalog.playbooks.get(schedule.playbook)
    if playbook is None:
        raise Refused(f"playbook {schedule.playbook!r:.60} is not in the adopted catalog", reason="unknown_playbook")
    hosts = hosts_of(schedule, revision.inventory)
    if not 1 <= len(hosts) <= MOST_HOSTS:
        raise Refused(f"it means {len(hosts)} hosts of the inventory, not 1 to {MOST_HOSTS}", reason="targets")
    found = []
    for host in hosts:
        params = params_for(schedule, playbook, host)
        check_params(playbook, params)
        target = revision.inventory.hosts.get(host)
        plan = Plan(
            action="playbook", playbook=playbook.id, params=params, why=f"schedule {schedule.name}, {moment.by}"
        )
        found.append(
            Planned(
                id=new_id(), opened_at=now, revision=revision.commit, mode=Mode.PROPOSE,
                entity=entity_of(target) if target else None, plan=plan, requested_by=moment.by,
                attempts=(Attempt(tier="schedule", verdict="accepted", why=plan.why),),
                scheduled=Scheduled(schedule=schedule.name, commit=revision.commit, planned_at=moment.planned_at),
            )
        )  # fmt: skip
    return found
