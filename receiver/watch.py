"""What the plan role looks at on a forge between the cases: what webhooks lost, people's own run files, and, in the
catalog's repository alone, merges of what needs adoption.

Decides that a pull request that changed wakes its case, whoever noticed; that a person's own run file becomes a case
only when every question of `domain/given.py` is answered; and that a merge of playbooks, inventory, prompts or policy
takes effect when people approved exactly that, counted under the policy before it (rule S4). Whatever is not believed
stays as it is and is said.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from receiver.domain.case import Planned
from receiver.domain.entity import entity_of
from receiver.domain.forge import Account, Marks, PullRequest
from receiver.domain.given import AFTER, BEFORE, Given, brings_a_run, proposal_of, read_given
from receiver.domain.inventory import targets_digest
from receiver.domain.landing import Brought
from receiver.domain.outcome import Mode
from receiver.domain.place import Routing, key_of
from receiver.domain.plan import Attempt, Plan
from receiver.domain.policyfile import Policy
from receiver.domain.proposal import Answer, GivenRun
from receiver.domain.pulltext import given_comment
from receiver.domain.quorum import Vote, approvers, missing, reach_of
from receiver.domain.revision import Pending
from receiver.domain.table import answer_all
from receiver.errors import GitmedicError, Refused, Retry
from receiver.ports import (
    Adoption,
    Archive,
    Branches,
    Clock,
    Deliveries,
    Desk,
    Event,
    Forge,
    Hosting,
    Ledger,
    Notifier,
    Repo,
    Turn,
    Watchbook,
)

#: forges' clocks and ours differ, and a list is made before its answer arrives
OVERLAP = timedelta(minutes=10)
#: a look that takes longer has died
TURN_SECONDS = 300.0
#: how long a head that cannot be had is asked for again, and everything since then with it
PATIENCE = timedelta(days=1)
_LONGEST_PAUSE = 900.0
#: a token or a repository that is not right: a person must act first
_REFUSED_SECONDS = 300.0


class _NotHad(Retry):
    """The head of one pull request is not there yet."""


@dataclass(frozen=True)
class Watch:
    """One look after the other; each is harmless to repeat and to lose."""

    forge: Forge
    hosting: Hosting
    repo: Repo
    branches: Branches
    adoption: Adoption | None  #: None: what lies here is never in force, it takes run files alone
    archive: Archive
    desk: Desk
    ledger: Ledger
    book: Watchbook
    notifier: Notifier
    clock: Clock
    base: str
    bot: Account
    repository: str
    prefix: str = ""
    place: str = ""  #: the settings' name of the repository; empty: the catalog's own
    routing: Routing = field(default_factory=Routing)

    @property
    def key(self) -> str:
        """The repository among all of ours."""
        return key_of(self.place, self.repository)

    async def look(self) -> None:
        """Everything that changed on the forge since the last look, then what waits for adoption."""
        turn = await self.book.begin(self.key, TURN_SECONDS)
        if turn is None:
            return
        seen = None
        try:
            left = await self._all(turn)
            await self.adopt()
            if isinstance(left, Refused):
                raise left
            seen = turn.at if left is None else None
        finally:
            await self.book.done(self.key, seen)

    async def _all(self, turn: Turn) -> Refused | Retry | None:
        """Each of what changed. One that a person must look at, or whose head cannot be had now, holds up no other."""
        left: Refused | Retry | None = None
        is_late = turn.since is not None and turn.at - turn.since > PATIENCE
        for number in await self.hosting.changed(turn.since - OVERLAP if turn.since is not None else None):
            try:
                await self._one(number, is_late=is_late)
            except (Refused, _NotHad) as error:
                left = error if left is None or isinstance(error, Refused) else left
        return left

    async def _one(self, number: int, *, is_late: bool) -> None:
        """A forge that does not answer ends the look; a head that cannot be had is asked for again, for a day."""
        case = await self.archive.case_of_proposal(self.key, number)
        if case is not None:
            await self.desk.wake(case)
        pull = await self.forge.read(number)
        if pull.state != "open" or (pull.author.forge, pull.author.id) == (self.bot.forge, self.bot.id):
            return
        try:
            await self._visit(pull)
        except _NotHad as error:
            if not is_late:
                raise
            await self._keep(pull, None, f"its head cannot be had: {error.message}")

    # --- a person's own pull request

    async def _visit(self, pull: PullRequest) -> None:
        """Look at one head once."""
        if not pull.same_repository or await self.book.seen(self.key, pull.number, pull.head_sha):
            return
        try:
            brought = await self.branches.brought(pull.head_ref, pull.head_sha)
        except Retry as error:
            raise _NotHad(error.message, after_seconds=error.after_seconds) from error
        if not brings_a_run(brought):
            await self._keep(pull, None, "it brings no run file")
            return
        given = await self._given(pull, brought)
        answers = _answers(given)
        no = next((answer for answer in answers if answer.passed is False), None)
        await self._say(pull, answers, no)
        if no is not None:
            await self._keep(pull, None, f"{no.name}: {no.why}")
            return
        case = self._case(given)
        said = f"run file in pull request {pull.number} by {pull.author.login}"
        await self.desk.open(case, [Event(kind="case.planned", actor=f"forge:{pull.author.login}", text=said)])
        await self._keep(pull, case.id, "")

    async def _given(self, pull: PullRequest, brought: Brought) -> Given:
        revision = await self.repo.revision(await self.repo.adopted())
        runfile, unreadable = read_given(brought)
        trees, digest, is_known = None, "", False
        if runfile is not None:
            is_known = await self.book.is_known(runfile.run, runfile.case)
            playbook = revision.catalog.playbooks.get(runfile.playbook)
            if playbook is not None:
                trees = await self.repo.trees(revision.commit, playbook.path)
            if all(name in revision.inventory.hosts for name in runfile.targets):
                digest = targets_digest(revision.inventory, runfile.targets)
        return Given(
            now=await self.ledger.now(), pull=pull, base=self.base, prefix=self.prefix, brought=brought,
            revision=revision, runfile=runfile, unreadable=unreadable, trees=trees, targets_digest=digest,
            is_known=is_known, place=self.place, routing=self.routing,
        )  # fmt: skip

    def _case(self, given: Given) -> Planned:
        run, author = given.run, given.author
        name = author.name if author is not None else given.pull.author.login
        playbook = given.revision.catalog.playbooks[run.playbook]
        target = given.revision.inventory.hosts.get(str(run.params.get(playbook.targets.param)))
        plan = Plan(action="playbook", playbook=run.playbook, params=run.params, why=f"dispatched by user:{name}")
        return Planned(
            id=run.case, opened_at=self.clock.now(), revision=given.revision.commit, mode=Mode.PROPOSE,
            entity=entity_of(target) if target else None, plan=plan, requested_by=f"user:{name}",
            given=GivenRun(proposal=proposal_of(given), runfile=run),
            attempts=(Attempt(tier="person", verdict="accepted", why=plan.why),),
        )  # fmt: skip

    async def _say(self, pull: PullRequest, answers: tuple[Answer, ...], no: Answer | None) -> None:
        text = f"{no.name}: {no.why}" if no is not None else "read; a dry run follows"
        marks = Marks(
            head_sha=pull.head_sha, state="failure" if no is not None else "pending", text=text[:140],
            labels=("gitmedic",),
        )  # fmt: skip
        await self.forge.mark(pull.number, marks)
        await self.forge.comment(pull.number, given_comment(answers, is_taken=no is None))

    async def _keep(self, pull: PullRequest, case: str | None, why: str) -> None:
        await self.book.keep(self.key, pull.number, pull.head_sha, case=case, why=why)

    # --- adopted revisions

    async def adopt(self) -> None:
        """Put in force what people approved, one merge after the other; stop at the first that is not believed."""
        if self.adoption is None:
            return
        await self.adoption.fetch()
        waiting = await self.adoption.pending(await self.repo.adopted())
        behind = [(await self.hosting.behind(one.commit), one) for one in waiting]
        for number, group in groupby(behind, key=lambda pair: pair[0]):
            if not await self._adopt(self.adoption, number, [one for _, one in group]):
                return

    async def _adopt(self, adoption: Adoption, number: int | None, commits: list[Pending]) -> bool:
        old, new = await self.repo.adopted(), commits[-1].commit
        if number is None:
            return False  # pushed past the forge's review: a person accepts it, with `gitmedic revision accept`
        pull = await self.forge.read(number)
        policy = (await self.repo.revision(old)).policy
        vote = _vote(policy, pull)
        if self._is_not_merged_here(pull) or missing(vote) is not None:
            return False
        if not await adoption.as_reviewed(old, commits[0].commit, new, pull.head_sha, pull.head_ref):
            return False
        try:
            await self.repo.revision(new)
        except Retry:
            raise
        except GitmedicError as error:
            await self.notifier.tell(f"merged, but not readable: {pull.url}", error.message)
            return False
        names = ", ".join(approvers(vote))
        digest = await adoption.digest(old, new)
        await self.desk.adopt(new, old=old, digest=digest, actor=f"forge:{names}")
        await self.notifier.tell(f"{new[:12]} is in force", f"merged with {pull.url}, approved by {names}")
        return True

    def _is_not_merged_here(self, pull: PullRequest) -> bool:
        is_ours = pull.repository == self.repository and pull.base_ref == self.base and pull.same_repository
        return not is_ours or pull.state != "merged" or pull.draft or pull.settling


def _answers(given: Given) -> tuple[Answer, ...]:
    """The second half needs a file that can be read."""
    first = answer_all(BEFORE, given)
    if any(answer.passed is False for answer in first):
        return first
    return first + answer_all(AFTER, given)


def _vote(policy: Policy, pull: PullRequest) -> Vote:
    """Content can change everything, so it takes the word of the most entitled: nobody raises themselves by it."""
    return Vote(
        policy=policy, pull=pull, head_sha=pull.head_sha, risk=reach_of(policy), requested_by="system",
        author=pull.author,
    )  # fmt: skip


class Rounds:
    """When to look: at once after a webhook, else every so often; rarer while the forge does not answer."""

    def __init__(self, watch: Watch, deliveries: Deliveries, poll_seconds: float) -> None:
        self._watch, self._deliveries, self._poll_seconds = watch, deliveries, poll_seconds
        self._next, self._failures, self._said = 0.0, 0, ""
        self._heard: datetime | None = None

    async def tick(self) -> None:
        """Cheap while there is nothing to do; for a chore of every second."""
        if not await self._is_due():
            return
        self._next = time.monotonic() + self._poll_seconds
        try:
            await self._watch.look()
            self._failures, self._said = 0, ""
        except Retry as error:
            self._failures += 1
            later = min(self._poll_seconds * 2**self._failures, _LONGEST_PAUSE)
            self._next = time.monotonic() + max(error.after_seconds, later)
            raise
        except Refused as error:
            self._next = time.monotonic() + max(self._poll_seconds, _REFUSED_SECONDS)
            if error.message != self._said:
                self._said = error.message
                whose = f" of place {self._watch.place!r}" if self._watch.place else ""
                await self._watch.notifier.tell(f"the forge{whose} needs you", f"{error.message} ({error.next_step})")

    async def _is_due(self) -> bool:
        if self._heard is None:
            self._heard = await self._watch.ledger.now()
        if time.monotonic() >= self._next:
            return True
        if self._failures:
            return False
        now = await self._watch.ledger.now()
        heard = await self._deliveries.since(self._watch.forge.name, self._watch.key, self._heard)
        self._heard = now if heard else self._heard
        return bool(heard)
