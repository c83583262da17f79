"""The places where the contract of a forge is held: the fake, the built-in one, and each forge elsewhere.

What people do there, they do in the way of the place: on our own pages, or on the forge itself, against its double.
A new forge is one line in `ELSEWHERE`.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.github import GitHub
from receiver.adapters.forge.gitlab import GitLab
from receiver.adapters.forge.local import LocalForge
from receiver.adapters.forge.remote import Dialect, RemoteForge
from receiver.adapters.forge.settings import ForgeSettings, LocalForgeSettings
from receiver.adapters.repo.git import OpsRepository
from receiver.domain.forge import Account, Opening, bot_account, person_account
from receiver.ports import Branches, Forge, Hosting, ReviewDesk
from receiver.testing.clock import FakeClock
from receiver.testing.repo import FakeForge, FakeRepo
from tests.forges import gitwork
from tests.forges.gitea import GiteaDouble
from tests.forges.github import GitHubDouble
from tests.forges.gitlab import GitLabDouble
from tests.forges.pulls import State
from tests.forges.server import ForgeServer
from tests.forges.state import Protection, Pull, Repository, Right, User

RUN = "01939a00-1111-7000-8000-000000000001"
PEOPLE: dict[str, Right] = {"gitmedic-bot": "write", "ada": "admin", "bob": "write", "eve": "read"}


class Desk(Forge, Hosting, ReviewDesk, Protocol):
    """A forge with reviews."""


def path_of(run: str) -> str:
    return f"runs/2026/11/21/{run}.yml"


class Place:
    """One forge and the repository under it; people act on our own pages."""

    merges_as_bot = False  #: a merge from our own pages is made by our account there
    styles: tuple[str, ...] = ("merge",)

    def __init__(self, forge: Desk, branches: Branches) -> None:
        self.forge, self.branches = forge, branches
        self.bot = bot_account()

    async def open(self, run: str = RUN) -> tuple[int, str]:
        """The usual pull request; (number, head)."""
        head = await self.propose(run)
        opening = Opening(branch=f"gitmedic/{run}", head_sha=head, base="main", title="Restart web", body="Why\n")
        pull = await self.forge.open(opening)
        return pull.number, head

    async def propose(self, run: str = RUN) -> str:
        """A run file on a branch of its own."""
        head, _ = await self.branches.propose(
            branch=f"gitmedic/{run}", path=path_of(run), content=run.encode(), message="Restart web"
        )
        return head

    def account(self, person: str) -> Account:
        """As the place knows this person."""
        return person_account(person)

    def merger(self, person: str) -> Account:
        """Who made the merge of a person's word on our own pages."""
        return self.bot if self.merges_as_bot else self.account(person)

    async def protect(self) -> None:
        """The base as it should be."""

    # --- people

    async def approves(self, person: str, number: int) -> None:
        await self.forge.approve(number, (await self.forge.read(number)).head_sha, person, "session")

    async def merges(self, person: str, number: int, style: str = "merge") -> None:
        await self.forge.approve_and_merge(number, (await self.forge.read(number)).head_sha, person, "session")

    async def closes(self, person: str, number: int) -> None:
        await self.forge.reject(number, person, "session", "no")

    async def pushes(self, person: str, number: int) -> str:
        raise NotImplementedError

    async def tip(self) -> str:
        """Of the base."""
        raise NotImplementedError


class Fake(Place):
    forge: FakeForge
    branches: FakeRepo

    async def pushes(self, person: str, number: int) -> str:
        pull = await self.forge.read(number)
        _, base, path, _ = self.branches.branches[pull.head_ref]
        self.branches.branches[pull.head_ref] = ("e" * 40, base, path, b"edited")
        self.forge.pulls[number] = pull.model_copy(update={"head_sha": "e" * 40})
        return "e" * 40

    async def tip(self) -> str:
        return next(reversed(self.branches.landed))


class Local(Place):
    def __init__(self, forge: Desk, branches: Branches, bare: Path) -> None:
        super().__init__(forge, branches)
        self.bare = bare

    async def pushes(self, person: str, number: int) -> str:
        pull = await self.forge.read(number)
        return edited(self.bare, pull.head_ref, pull.head_sha, person)

    async def tip(self) -> str:
        return gitwork.git(self.bare, "rev-parse", "main")


def edited(bare: Path, branch: str, head: str, person: str) -> str:
    """A commit of a person on top of a proposal, at its branch."""
    path = path_of(branch.rpartition("/")[2])
    made = gitwork.commit(bare, head, {path: b"edited"}, "Edit", (person, f"{person}@example.org"))
    gitwork.git(bare, "update-ref", f"refs/heads/{branch}", made)
    return made


class Elsewhere(Place):
    """A double of a forge: people act on it as they would there."""

    merges_as_bot = True
    forge: RemoteForge

    def __init__(
        self, forge: RemoteForge, branches: Branches, server: ForgeServer, repository: Repository, pool: Any
    ) -> None:
        super().__init__(forge, branches)
        self.server, self.state, self.repository, self.pool = server, server.state, repository, pool
        self.faults = server.faults
        self.styles = getattr(self.state, "styles", ("merge", "squash"))
        self.bot = self.account("gitmedic-bot")

    def user(self, person: str) -> User:
        return self.state.user(person)

    def account(self, person: str) -> Account:
        user = self.user(person)
        return Account(forge=self.state.name, id=str(user.id), login=person, is_bot=user.is_bot)

    def pull(self, number: int) -> Pull:
        return self.state.pull(self.repository, number)

    async def protect(self) -> None:
        self.repository.protection["main"] = Protection(required_reviews=1, admins_bypass=False)

    async def approves(self, person: str, number: int) -> None:
        self.state.review(self.user(person), self.pull(number), "approve")

    async def objects(self, person: str, number: int) -> None:
        self.state.review(self.user(person), self.pull(number), "reject")

    async def merges(self, person: str, number: int, style: str = "merge") -> None:
        self.state.merge(self.user(person), self.pull(number), style)  # type: ignore[arg-type]

    async def closes(self, person: str, number: int) -> None:
        self.state.close(self.user(person), self.pull(number))

    async def pushes(self, person: str, number: int) -> str:
        pull = self.pull(number)
        path = path_of(pull.branch.rpartition("/")[2])
        return self.state.push(self.user(person), self.repository, pull.branch, {path: b"edited"})

    async def tip(self) -> str:
        return gitwork.git(self.repository.folder, "rev-parse", "main")

    def comments(self, number: int) -> list[tuple[str, str]]:
        """Who said what below it, oldest first."""
        return [(self.state.users[one.user].login, one.body) for one in self.pull(number).comments]

    async def forget(self) -> None:
        """What our database knows of comments is lost."""
        async with self.pool.connection() as connection:
            await connection.execute("DELETE FROM forge_comments")


class Pushed:
    """Proposals of our own repository, pushed to the forge by our account there."""

    def __init__(self, ops: OpsRepository, bare: Path, url: str, dialect: Dialect) -> None:
        self._ops, self._bare, self._url, self._dialect = ops, bare, url, dialect

    async def propose(self, *, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
        made = await self._ops.propose(branch=branch, path=path, content=content, message=message)
        user, password = await self._dialect.login()
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        environment = {
            "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"http.{self._url}.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}", "HOME": str(self._bare.parent),
        }  # fmt: skip
        subprocess.run(
            ["git", "--git-dir", str(self._bare), "push", "-q", self._url, f"{made[0]}:refs/heads/{branch}"],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)


@dataclass(frozen=True)
class Kind:
    """A forge elsewhere: its double and what speaks to it."""

    double: Callable[[Path], State]
    dialect: Callable[..., Dialect]


ELSEWHERE: dict[str, Kind] = {
    "github": Kind(GitHubDouble, GitHub),
    "gitea": Kind(GiteaDouble, Gitea),
    "gitlab": Kind(GitLabDouble, GitLab),
}

Maker = Callable[[pytest.FixtureRequest, AsyncExitStack], Awaitable[Place]]


async def local(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    pool = AsyncConnectionPool(request.getfixturevalue("database"), min_size=1, open=False, kwargs={"autocommit": True})
    await stack.enter_async_context(pool)
    ops = request.getfixturevalue("ops")
    return Local(LocalForge(pool, ops, LocalForgeSettings()), ops, request.getfixturevalue("bare"))


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Place:
    repository = FakeRepo()
    return Fake(FakeForge(repository, FakeClock()), repository)


def elsewhere(name: str) -> Maker:
    """The maker of a double with its people, and of the forge that speaks to it."""

    async def make(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Elsewhere:
        ops, bare = request.getfixturevalue("ops"), request.getfixturevalue("bare")
        pool = AsyncConnectionPool(
            request.getfixturevalue("database"), min_size=1, open=False, kwargs={"autocommit": True}
        )
        await stack.enter_async_context(pool)
        state = ELSEWHERE[name].double(request.getfixturevalue("tmp_path") / "forge")
        server = stack.enter_context(ForgeServer(state))
        people = {login: state.add_user(login) for login in PEOPLE}
        rights = {people[login].id: right for login, right in PEOPLE.items()}
        repository = state.add_repository("ops", "infra", rights=rights, files={"README.md": b"ops\n"})
        # the forge's repository is the one that proposals grow from
        gitwork.git(repository.folder, "fetch", "-q", str(bare), "+refs/heads/main:refs/heads/main")
        settings = settings_of(state, repository, people["gitmedic-bot"])
        dialect = ELSEWHERE[name].dialect(settings, "main", secret=state.token_of("gitmedic-bot"))
        stack.push_async_callback(dialect.aclose)
        account = Account(forge=name, id=settings.account, login=settings.login)
        forge = RemoteForge(dialect, pool, repository=settings.repository, base="main", account=account)
        pushed = Pushed(ops, bare, settings.git_url, dialect)
        place = Elsewhere(forge, pushed, server, repository, pool)  # type: ignore[arg-type]
        # after every test: each request and each answer was as the forge's description says
        stack.callback(_well_spoken, server)
        return place

    make.__name__ = name
    return make


def settings_of(state: State, repository: Repository, bot: User, **more: Any) -> ForgeSettings:
    """As `gitmedic forge connect` would write them."""
    said = {
        "kind": state.name, "url": f"{state.url}/{repository.full_name}", "repository": str(repository.id),
        "account": str(bot.id), "login": bot.login, "write_seconds": 0,
    } | ({} if "app_id" in more else {"token_file": "/nowhere"})  # fmt: skip
    return ForgeSettings.model_validate(said | more)


def _well_spoken(server: ForgeServer) -> None:
    assert server.spec is not None
    assert not server.spec.violations, "\n".join(server.spec.violations)


MAKERS: list[Maker] = [local, fake, *(elsewhere(name) for name in ELSEWHERE)]
FAR: list[Maker] = MAKERS[2:]


def another_run(number: int) -> str:
    """A run's id that is not the usual one."""
    return str(UUID(int=UUID(RUN).int + number))
