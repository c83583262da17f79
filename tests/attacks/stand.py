"""A place to attack: a world whose repository and forge are real, people with accounts there, and what they can do.

The stages that decide (approve, clear, execute, and the watch) see real bytes of a real git, and a real forge or its
double; source, runner and database rows of cases are the fakes, so that a run is one line in `runner.jobs`.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.local import LocalForge
from receiver.adapters.forge.remote import RemoteForge
from receiver.adapters.forge.settings import LocalForgeSettings
from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.repo.creation import create_mirror, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.case import Planned, Proposed
from receiver.domain.entity import entity_of
from receiver.domain.forge import Account, PullRequest, bot_account
from receiver.domain.inventory import targets_digest
from receiver.domain.outcome import Mode
from receiver.domain.plan import Plan
from receiver.domain.proposal import Proposal
from receiver.domain.quorum import approval_text
from receiver.domain.runfile import Pins, RunFile, path_of, write_runfile
from receiver.errors import GitmedicError
from receiver.forges import ForgeGit
from receiver.identity import new_id
from receiver.places import Place, Places
from receiver.testing import World
from receiver.testing.people import FakeArchive, FakeDesk, FakeInbox, FakeLogs
from receiver.testing.repo import FakeSignatures, FakeWatchbook
from receiver.watch import Watch
from tests.contract.places import ELSEWHERE, settings_of
from tests.forges import gitwork
from tests.forges.pulls import State
from tests.forges.server import ForgeServer
from tests.forges.state import Denied, Protection, Pull, Repository, Right, User
from tests.unit.test_pipeline import CATALOG, FILES, alert

FORGES = ("local", *ELSEWHERE)
POLICY = """
mode: propose
sources: {prom: {mode: propose}}
approvals: {posture: warn}
people:
  - {name: anna, session: [anna], approves: high, dispatches: yes, ssh_keys: [anna-key], forges: FORGES_anna}
  - {name: bert, session: [bert], approves: high, ssh_keys: [bert-key], forges: FORGES_bert}
  - {name: carl, session: [carl], approves: low, forges: FORGES_carl}
  - {name: robo, session: [robo], approves: high, forges: FORGES_robo}
  - {name: guest, session: [guest], forges: FORGES_guest}
"""
#: mallory administers the forge, eve writes there: neither is anybody in policy.yml
RIGHTS: dict[str, Right] = {
    "gitmedic-bot": "write", "anna": "write", "bert": "write", "carl": "write", "robo": "write", "guest": "read",
    "eve": "write", "mallory": "admin",
}  # fmt: skip
_numbers = itertools.count(1)


def policy(text: str = POLICY) -> bytes:
    """With everybody's account on each forge; `FORGES_x` in the text."""
    for login in RIGHTS:
        said = ", ".join(f"{forge}: {login}" for forge in ELSEWHERE)
        text = text.replace(f"FORGES_{login}", f"{{{said}}}")
    return text.encode()


def files(*, risk: str = "low", rules: str = POLICY) -> dict[str, bytes]:
    """What is in force at first."""
    catalog = CATALOG.replace(b"risk: low", f"risk: {risk}".encode())
    return {**FILES, "policy.yml": policy(rules), "playbooks/web/restart/catalog.yml": catalog}


class Desk(FakeDesk):
    """What is adopted here is in force at once."""

    stand: Stand

    async def adopt(self, commit: str, *, old: str | None, digest: str, actor: str) -> None:
        await super().adopt(commit, old=old, digest=digest, actor=actor)
        self.stand.in_force = commit


class Book(FakeWatchbook):
    """Knows the cases and runs of its world."""

    world: World

    async def is_known(self, run: str, case: str) -> bool:
        begun = {one["run"] for one in self.world.runs.attempts.values()}
        return await super().is_known(run, case) or case in self.world.cases.rows or run in begun


class Machine:
    """One installation: its world, its copy of the repository, and its watch."""

    def __init__(self, stand: Stand, ops: OpsRepository, forge: Any, bot: Account, repository: str) -> None:
        self.ops, self.said = ops, ""
        self.world = world = World({}, RulesPlanner())
        # the forge's clock is the real one
        world.clock.pass_seconds((datetime.now(UTC) - world.clock.now()).total_seconds())
        world.ledger.since = world.clock.now() - timedelta(days=1)
        place = Place(branches=ops, forge=forge, hosting=forge, review=forge, bot=bot, repository=repository)
        world.ports = replace(world.ports, repo=ops, places=Places(place))
        self.desk, self.book = Desk(world.clock, world.cases, world.runs), Book(world.clock)
        self.desk.stand, self.book.world = stand, world
        self.watch = Watch(
            forge=forge, hosting=forge, repo=ops, branches=ops, adoption=ops, desk=self.desk, ledger=world.ledger,
            archive=FakeArchive(world.cases, FakeLogs(world.runs), FakeInbox(world.clock, world.cases)),
            book=self.book, notifier=world.notifier, clock=world.clock, base="main", bot=bot, repository=repository,
        )  # fmt: skip

    async def work(self) -> None:
        """Everything that may happen now, twice: what was put off is due again. What refuses is kept in `said`."""
        for _ in range(2):
            for step in (self.watch.look, self._settle):
                try:
                    await step()
                except GitmedicError as error:
                    self.said = error.message

    async def _settle(self) -> None:
        for row in self.world.cases.rows.values():
            if row.closed_at is None:
                row.due_at, row.lease_until = self.world.clock.now(), None
        await self.world.settle()


class Stand:
    """The built-in forge; people reach the repository as those who may write to its folder."""

    name = "local"
    folder: Path  #: the repository in which merges are made

    def __init__(self, place: Path) -> None:
        self.place, self.in_force, self.id, self.machines = place, "", "", list[Machine]()

    @asynccontextmanager
    async def standing(self, database: str, content: Mapping[str, bytes]) -> AsyncIterator[Stand]:
        """Everything started; the first machine is there."""
        async with AsyncExitStack() as stack:
            self.pool = AsyncConnectionPool(database, min_size=1, open=False, kwargs={"autocommit": True})
            await stack.enter_async_context(self.pool)
            self.stack = stack
            await self._begin(content)
            yield self

    async def _begin(self, content: Mapping[str, bytes]) -> None:
        self.folder = self.place / "ops.git"
        create_ops_repository(self.folder, dict(content), "Ada <ada@example.org>")
        self.in_force = gitwork.git(self.folder, "rev-parse", "main")
        ops = OpsRepository(RepoSettings(path=self.folder), self._adopted)
        self.stack.push_async_callback(ops.close)
        self.forge: Any = LocalForge(self.pool, ops, LocalForgeSettings())
        self.machines.append(Machine(self, ops, self.forge, bot_account(), "local"))

    async def _adopted(self) -> str:
        return self.in_force

    # --- what happens by itself

    @property
    def world(self) -> World:
        return self.machines[0].world

    async def work(self) -> None:
        for machine in self.machines:
            await machine.work()

    def ran(self, mode: str) -> list[str]:
        """Runs, or dry runs, that were begun."""
        jobs = [job for machine in self.machines for job in machine.world.runner.jobs]
        return [job.run_id for job in jobs if job.mode == mode]

    @property
    def said(self) -> str:
        """How the case that was attacked stands: the reason of its end, or what it waits for."""
        machine, row = self.machines[0], self.world.cases.rows.get(self.id)
        if row is None:
            kept = [why for _, why in machine.book.kept.values()]
            return kept[-1] if kept else machine.said
        end = getattr(row.case, "reason", "") or str(getattr(row.case, "outcome", ""))
        return end or machine.said or row.waiting or row.case.kind

    async def propose(self) -> Proposal:
        """An alert fires, and a proposal waits for people."""
        self.id = self.world.fire(alert())
        await self.world.settle()
        return self.proposal

    async def dispatch(self, person: str) -> Proposal:
        """Somebody asks for it on our own pages."""
        revision = await self.machines[0].ops.revision(self.in_force)
        plan = Plan(action="playbook", playbook="web_restart", params={"host": "web1", "service": "web"}, why="asked")
        case = Planned(
            id=new_id(), opened_at=self.world.clock.now(), revision=self.in_force, mode=Mode.PROPOSE, plan=plan,
            entity=entity_of(revision.inventory.hosts["web1"]), requested_by=f"user:{person}",
        )  # fmt: skip
        self.world.cases.add(case)
        self.id = case.id
        await self.world.settle()
        return self.proposal

    @property
    def proposal(self) -> Proposal:
        case = self.world.case(self.id)
        assert isinstance(case, Proposed), (case.kind, self.said)
        return case.proposal

    async def hold(self) -> None:
        """The host is busy: what is approved now waits just before its start."""
        await self.world.locks.take("other", "other", ["host:web1"])
        await self.work()
        assert self.world.case(self.id).kind == "approved", self.said

    async def let_go(self) -> None:
        """The host is free. The executor asks for its clearance with the locks in hand, so an earlier one is none."""
        self.world.runs.answers.clear()
        await self.world.locks.free("other")
        await self.work()

    async def read(self) -> PullRequest:
        found: PullRequest = await self.forge.read(self.proposal.number)
        return found

    # --- what people do

    async def approve(self, person: str, number: int = 0) -> None:
        number = number or self.proposal.number
        await self.forge.approve(number, (await self.forge.read(number)).head_sha, person, "session")

    async def sign(self, person: str, key: str, head: str = "") -> None:
        """A signature at a terminal, by a key, over a head."""
        case = self.world.case(self.id)
        assert isinstance(case, Proposed)
        text = approval_text(self.world.ports.places.main.repository, case.proposal).replace(
            case.proposal.head_sha, head or self.proposal.head_sha
        )
        number, signature = self.proposal.number, FakeSignatures.sign(text, key)
        await self.forge.approve(number, case.proposal.head_sha, person, "terminal", signature=signature)

    async def merge(self, person: str, number: int = 0) -> None:
        """As somebody who may merge; here that is a word as well, which nobody in policy.yml has for mallory."""
        number = number or self.proposal.number
        await self.forge.approve_and_merge(number, (await self.forge.read(number)).head_sha, person, "session")

    def commit(self, person: str, parents: list[str], entries: Mapping[str, bytes | tuple[str, bytes] | None]) -> str:
        """A commit of these entries on top of the first parent's tree; a mode beside its bytes where it is odd."""
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index"}
            gitwork.git(self.folder, "read-tree", parents[0], **index)
            lines = []
            for path, said in entries.items():
                mode, data = said if isinstance(said, tuple) else ("100644" if said is not None else "0", said)
                blob = (
                    gitwork.git(self.folder, "hash-object", "-w", "--stdin", stdin=data)
                    if data is not None
                    else gitwork.ZERO
                )
                lines.append(f"{mode} {blob}\t{path}\0")
            gitwork.git(self.folder, "update-index", "-z", "--index-info", stdin="".join(lines).encode(), **index)
            tree = gitwork.git(self.folder, "write-tree", **index)
        above = [word for parent in parents for word in ("-p", parent)]
        who = {"GIT_AUTHOR_NAME": person, "GIT_AUTHOR_EMAIL": f"{person}@example.org"}
        return gitwork.git(self.folder, "commit-tree", tree, *above, "-m", f"By {person} {next(_numbers)}", **who)

    def put(self, person: str, branch: str, sha: str, *, force: bool = False) -> str:
        """A branch is moved there."""
        gitwork.git(self.folder, "update-ref", f"refs/heads/{branch}", sha)
        return sha

    def push(self, person: str, branch: str, entries: Mapping[str, bytes | tuple[str, bytes] | None]) -> str:
        """One commit on top of a branch."""
        return self.put(person, branch, self.commit(person, [self.tip(branch)], entries))

    def tip(self, branch: str = "main") -> str:
        found = gitwork.tip(self.folder, f"refs/heads/{branch}")
        assert found is not None
        return found

    @property
    def bytes(self) -> bytes:
        """Of the proposed run file."""
        done = subprocess.run(
            ["git", "--git-dir", str(self.folder), "show", f"{self.proposal.head_sha}:{self.proposal.path}"],
            capture_output=True, check=True, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return done.stdout

    def adopt(self, entries: Mapping[str, bytes | tuple[str, bytes] | None]) -> None:
        """A change of what is in force that people accepted."""
        self.in_force = self.push("mallory", "main", entries)


class Elsewhere(Stand):
    """The double of a forge, and a mirror of its repository."""

    state: State

    def __init__(self, name: str, place: Path) -> None:
        super().__init__(place)
        self.name = name

    async def _begin(self, content: Mapping[str, bytes]) -> None:
        self.state = ELSEWHERE[self.name].double(self.place / "forge")
        # numbers of repositories are keys in our database
        self.state._ids = itertools.count(1001 + 5000 * next(_numbers))
        self.server = self.stack.enter_context(ForgeServer(self.state))
        for login in RIGHTS:
            self.state.add_user(login, is_bot=login == "robo")
        self.repository = self.add_repository(content)
        self.folder = self.repository.folder
        self.in_force = self.tip()
        await self.machine()
        self.stack.callback(self._well_spoken)

    def _well_spoken(self) -> None:
        assert self.server.spec is not None
        assert self.server.spec.violations == []

    def add_repository(self, content: Mapping[str, bytes]) -> Repository:
        rights = {self.user(login).id: right for login, right in RIGHTS.items()}
        made = self.state.add_repository("ops", "infra", rights=rights, files=dict(content))
        made.protection["main"] = Protection(required_reviews=1)
        return made

    async def machine(self) -> Machine:
        """One more installation over a mirror of its own."""
        bot = self.user("gitmedic-bot")
        settings = settings_of(self.state, self.repository, bot)
        dialect = ELSEWHERE[self.name].dialect(settings, "main", secret=self.state.token_of(bot.login))
        self.stack.push_async_callback(dialect.aclose)
        account = Account(forge=self.name, id=settings.account, login=bot.login)
        forge = RemoteForge(dialect, self.pool, repository=str(self.repository.id), base="main", account=account)
        path = self.place / f"mirror{len(self.machines)}.git"
        create_mirror(path, settings.git_url)
        ops = OpsRepository(RepoSettings(path=path), self._adopted, ForgeGit(settings, dialect))
        self.stack.push_async_callback(ops.close)
        await ops.fetch()
        self.forge = self.machines[0].world.ports.places.main.forge if self.machines else forge
        self.machines.append(Machine(self, ops, forge, account, str(self.repository.id)))
        return self.machines[-1]

    def user(self, login: str) -> User:
        return self.state.user(login)

    def pull(self, number: int = 0) -> Pull:
        return self.state.pull(self.repository, number or self.proposal.number)

    async def approve(self, person: str, number: int = 0) -> None:
        self.state.review(self.user(person), self.pull(number), "approve")

    async def merge(self, person: str, number: int = 0) -> None:
        """An administrator merges past the rules where the forge lets administrators."""
        try:
            self.state.merge(self.user(person), self.pull(number))
        except Denied:
            self.state.force_merge(self.user(person), self.pull(number))  # type: ignore[attr-defined]

    def put(self, person: str, branch: str, sha: str, *, force: bool = False) -> str:
        return self.state.push(self.user(person), self.repository, branch, sha=sha, force=force)

    async def bring(self, person: str, *, pusher: str = "", fork: bool = False, **change: Any) -> int:
        """A person's own pull request with a run file, looked at; the number."""
        made = await self._runfile(person, **change)
        self.id, path, author = made.case, path_of(made.run, self.world.clock.now()), self.user(person)
        sha = self.commit(person, [self.tip()], {path: write_runfile(made)})
        self.put(person, "topic", sha)
        home = self.state.add_fork(author, self.repository) if fork else None
        pull = self.state.open(author, self.repository, "topic", "main", "Restart web", head=home)
        if pusher:
            edited = write_runfile(made.model_copy(update={"reason": "changed"}))
            self.put(pusher, "topic", self.commit(pusher, [sha], {path: edited}))
        await self.work()
        return pull.number

    async def _runfile(self, person: str, **change: Any) -> RunFile:
        ops, now = self.machines[0].ops, self.world.clock.now()
        revision = await ops.revision(self.in_force)
        playbook = revision.catalog.playbooks["web_restart"]
        trees = await ops.trees(self.in_force, playbook.path)
        digest = targets_digest(revision.inventory, ("web1",))
        said = {
            "run": new_id(), "playbook": playbook.id, "targets": ("web1",), "case": new_id(),
            "params": {"host": "web1", "service": "web"}, "revision": self.in_force, "reason": "a new certificate",
            "pins": Pins(
                playbook=trees.playbook, roles=trees.roles, collections=trees.collections, targets=digest
            ),
            "requested_by": f"user:{person}", "expires_at": now + timedelta(days=2),
        }  # fmt: skip
        return RunFile.model_validate(said | change)

    def replace(self, branch: str) -> None:
        """Another repository of the same name, with the same history and the same pull request."""
        old, bot = self.repository, self.user("gitmedic-bot")
        self.state.rename(old, "elsewhere")
        self.repository = self.add_repository({"README.md": b"other\n"})
        self.folder = self.repository.folder
        gitwork.git(self.folder, "fetch", "-q", str(old.folder), "+refs/heads/*:refs/heads/*")
        self.state.open(bot, self.repository, branch, "main", "Restart web")


def stand_of(name: str, place: Path) -> Stand:
    """A new one."""
    place.mkdir()
    return Stand(place) if name == "local" else Elsewhere(name, place)
