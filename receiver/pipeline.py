"""The product on one screen: each kind of case, the stage that takes it, and the role that may.

    Alertmanager ─► triage ─► investigate ─► plan ─► guard ─► rehearse ─► propose ─► approve ─► execute
    ─► verify ─► learn
    what a schedule begins and only reads, where the merged policy lists it: guard ─► read ─► learn

The only place that reports: every step becomes an event of the case, a log line and a metric under one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from receiver.domain.case import (
    Approved,
    Case,
    Closed,
    Ended,
    Executed,
    Investigated,
    Planned,
    Proposed,
    Received,
    Rehearsed,
    Triaged,
    Verified,
    Vetted,
)
from receiver.domain.outcome import Role
from receiver.domain.text import step_said
from receiver.errors import Broken
from receiver.evidence import Grounds
from receiver.places import Place, Places
from receiver.ports import (
    Chronicle,
    Clearance,
    Clock,
    Event,
    Facts,
    Gate,
    Ledger,
    Locks,
    Memory,
    Notifier,
    Planner,
    Proof,
    Repo,
    Runner,
    Runs,
    Signatures,
    Steps,
)
from receiver.stages.approve import approve
from receiver.stages.clear import clear, clear_step
from receiver.stages.execute import execute
from receiver.stages.guard import guard
from receiver.stages.investigate import investigate
from receiver.stages.learn import learn
from receiver.stages.plan import plan
from receiver.stages.propose import propose
from receiver.stages.read import read
from receiver.stages.rehearse import rehearse
from receiver.stages.triage import triage
from receiver.stages.verify import verify


@dataclass(frozen=True)
class Ports:
    """Everything the stages ask for. The plan role has no real `runner`, the execute role no real `proof`."""

    clock: Clock
    ledger: Ledger
    chronicle: Chronicle
    gate: Gate
    runs: Runs
    steps: Steps
    locks: Locks
    repo: Repo
    places: Places
    signatures: Signatures
    proof: Proof
    facts: Facts
    memory: Memory
    planner: Planner
    runner: Runner
    notifier: Notifier
    instance: str

    def grounds(self, at: Place) -> Grounds:
        """Where the approval checks look for a proposal in this place, the same for all who ask."""
        return Grounds(
            repo=self.repo, branches=at.branches, ledger=self.ledger, gate=self.gate, runs=self.runs,
            signatures=self.signatures, base=at.base, bot=at.bot, repository=at.repository, forge=at.forge.name,
            routing=self.places.routing,
        )  # fmt: skip


async def advance(case: Case, p: Ports) -> Case:  # noqa: C901, PLR0912 - one line per kind of case
    """Take a case one stage further; raises `Retry` when it must wait."""
    match case:
        case Received():
            return await triage(case, repo=p.repo, ledger=p.ledger)
        case Triaged():
            return await investigate(
                case, repo=p.repo, facts=p.facts, proof=p.proof, ledger=p.ledger, chronicle=p.chronicle, memory=p.memory
            )
        case Investigated():
            return await plan(case, repo=p.repo, planner=p.planner, chronicle=p.chronicle)
        case Planned():
            return await guard(case, repo=p.repo, ledger=p.ledger)
        case Vetted() if case.standing is not None:
            at = await _place_for(case, p)
            return await read(
                case, grounds=p.grounds(at), steps=p.steps, runner=p.runner, locks=p.locks, instance=p.instance
            )
        case Vetted():
            return await rehearse(case, repo=p.repo, runs=p.runs, runner=p.runner, gate=p.gate, instance=p.instance)
        case Rehearsed():
            return await propose(case, repo=p.repo, ledger=p.ledger, at=await _place_for(case, p))
        case Proposed():
            at = p.places.of(case.proposal)
            return await approve(case, grounds=p.grounds(at), forge=at.forge, hosting=at.hosting, proof=p.proof)
        case Approved():
            at = p.places.of(case.proposal)
            return await execute(
                case, grounds=p.grounds(at), steps=p.steps, runner=p.runner, locks=p.locks, instance=p.instance
            )
        case Executed():
            return await verify(case, proof=p.proof, repo=p.repo, clock=p.clock)
        case Verified() | Ended():
            at = p.places.of(case.proposal) if case.proposal is not None else p.places.main
            return await learn(case, ledger=p.ledger, memory=p.memory, forge=at.forge, notifier=p.notifier)
        case Closed():
            raise Broken(f"case {case.id} is closed; nothing takes it further")
        case _:
            assert_never(case)


async def clearance(case: Approved, p: Ports) -> Clearance:
    """Role plan's word for the executor that asks: for the beginning, and between two hosts of a run."""
    if done := await p.steps.steps(case.runfile.run):
        return await clear_step(case, done[-1], repo=p.repo, gate=p.gate, proof=p.proof)
    at = p.places.of(case.proposal)
    return await clear(case, grounds=p.grounds(at), forge=at.forge, hosting=at.hosting, proof=p.proof)


async def _place_for(case: Vetted | Rehearsed, p: Ports) -> Place:
    """Where the run is proposed, or claimed where it needs no proposal.

    A person's own is there already; any other goes where its targets' site belongs.
    """
    if case.given is not None:
        return p.places.of(case.given.proposal)
    hosts = (await p.repo.revision(case.revision)).inventory.hosts
    return p.places.of_sites(hosts[name].site for name in case.runfile.targets)


def role_of(case: Case) -> Role:
    """Who takes this kind of case: only two of them touch a host."""
    return Role.EXECUTE if isinstance(case, Vetted | Approved) else Role.PLAN


def event_of(case: Case, *, actor: str = "system") -> Event:
    """The timeline's line for a case that has just become this kind."""
    return Event(kind=f"case.{case.kind}", actor=actor, text=step_said(case))
