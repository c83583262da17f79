"""All fakes together, and the way of a case through them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from receiver.agenda import Agenda
from receiver.domain.alert import Alert
from receiver.domain.case import Approved, Case, Received
from receiver.domain.outcome import Role
from receiver.domain.place import Routing
from receiver.errors import Retry
from receiver.identity import new_id
from receiver.pipeline import Ports, advance, clearance, event_of, role_of
from receiver.places import Place, Places
from receiver.ports import Planner
from receiver.testing.clock import FakeClock
from receiver.testing.locks import FakeLocks
from receiver.testing.memory import FakeMemory
from receiver.testing.outside import FakeFacts, FakeNotifier, FakeProof, FakeRunner
from receiver.testing.repo import FakeForge, FakeRepo, FakeSignatures
from receiver.testing.schedules import FakeSchedules
from receiver.testing.store import FakeCases, FakeLedger, FakeRuns


class World:
    """One machine in memory."""

    def __init__(self, files: Mapping[str, bytes], planner: Planner) -> None:
        self.clock = FakeClock()
        self.cases = FakeCases(self.clock)
        self.ledger = FakeLedger(self.clock, self.cases)
        self.runs, self.locks, self.repo = FakeRuns(self.cases), FakeLocks(self.cases), FakeRepo()
        self.forge = FakeForge(self.repo, self.clock)
        self.proof, self.facts = FakeProof(), FakeFacts(self.clock)
        self.runner, self.notifier = FakeRunner(self.clock), FakeNotifier()
        self.memory = FakeMemory(self.clock)
        self.schedules = FakeSchedules(self.clock, self.cases)
        self.agenda = Agenda(self.repo, self.schedules, self.ledger, self.ledger, self.notifier)
        self.repo.adopt(files)
        self.ports = Ports(
            clock=self.clock,
            ledger=self.ledger,
            chronicle=self.ledger,
            gate=self.ledger,
            runs=self.runs,
            steps=self.runs,
            locks=self.locks,
            repo=self.repo,
            places=Places(Place(branches=self.repo, forge=self.forge, hosting=self.forge, review=self.forge)),
            signatures=FakeSignatures(),
            proof=self.proof,
            facts=self.facts,
            memory=self.memory,
            planner=planner,
            runner=self.runner,
            notifier=self.notifier,
            instance="test",
        )

    def add_place(self, name: str, *sites: str, repository: str = "local", prefix: str = "") -> FakeForge:
        """One more repository that takes the runs of these sites; its forge."""
        repo, places = FakeRepo(), self.ports.places
        forge = FakeForge(repo, self.clock, repository)
        place = Place(
            branches=repo, forge=forge, hosting=forge, review=forge, name=name, repository=repository, prefix=prefix
        )
        named = {**places.routing.named, **dict.fromkeys(sites, name)}
        routing = Routing(named=named, rest=places.routing.rest if sites else name)
        self.ports = replace(self.ports, places=Places(places.main, {**places.others, name: place}, routing))
        return forge

    def fire(self, alert: Alert) -> str:
        """An alert arrives; the id of its case."""
        case = Received(id=new_id(), opened_at=self.clock.now(), alert=alert)
        self.cases.add(case)
        return case.id

    def case(self, id: str) -> Case:
        """As it is now."""
        return self.cases.rows[id].case

    def waiting(self, id: str) -> str:
        """What it waits for."""
        return self.cases.rows[id].waiting

    async def merge(self, id: str, person: str) -> None:
        """A person approves the open proposal."""
        proposal = getattr(self.case(id), "proposal")  # noqa: B009 - a kind that has one
        review = self.ports.places.of(proposal).review
        await review.approve_and_merge(proposal.number, proposal.head_sha, person, "session")
        self.cases.rows[id].due_at = self.clock.now()

    async def settle(self, *, steps: int = 200) -> None:
        """Advance until nothing is due now."""
        for _ in range(steps):
            lease = await self.cases.claim((Role.PLAN, Role.EXECUTE), "test")
            if lease is None:
                return
            if isinstance(lease.case, Approved):
                await self.runs.ask_clearance(lease.case.runfile.run, lease.case.id)
                await self.runs.answer(lease.case.runfile.run, await clearance(lease.case, self.ports))
            planner = asyncio.create_task(self._plan_role())
            try:
                following = await advance(lease.case, self.ports)
            except Retry as wait:
                await self.cases.put_off(lease, at=wait.at, after_seconds=wait.after_seconds, why=wait.message)
                continue
            finally:
                planner.cancel()
            await self.cases.save(lease, following, [event_of(following)], role=role_of(following))
        raise AssertionError(f"not settled after {steps} steps")

    async def _plan_role(self) -> None:
        """Answers an executor that asks in the middle of its run."""
        while True:
            await asyncio.sleep(0.01)
            for case in await self.runs.wanted():
                if isinstance(case, Approved):
                    await self.runs.answer(case.runfile.run, await clearance(case, self.ports))

    async def settle_for(self, seconds: float) -> None:
        """Let time go by in steps of a second, working all the while."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            await self.settle()
            self.clock.pass_seconds(1)
        await self.settle()
