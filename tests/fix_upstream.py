"""A forge that is really there, and mirrors of its repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.repo.creation import create_mirror
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from tests.fix_repo import FIRST
from tests.forges import gitwork
from tests.forges.pulls import State
from tests.forges.server import ForgeServer
from tests.forges.state import Repository, User

#: not a word that anything else would say
TOKEN = "glsecret-0f3a9c55d1e24b8f"


@dataclass
class Login:
    """The bot's account on the forge."""

    url: str
    ca_file: Path | None = None
    user: str = "bot"
    password: str = TOKEN
    ssh_command: str = ""

    async def login(self) -> tuple[str, str]:
        return self.user, self.password


class Forge:
    """The forge's side of a test."""

    def __init__(self, server: ForgeServer, files: dict[str, bytes]) -> None:
        self.server, self.state, self.faults = server, server.state, server.faults
        self.ada: User = self.state.add_user("ada")
        self.bot: User = self.state.add_user("bot", is_bot=True, token=TOKEN)
        self.reader: User = self.state.add_user("reader")
        self.repository: Repository = self.state.add_repository(
            "org", "ops", files=files, rights={self.ada.id: "admin", self.bot.id: "write", self.reader.id: "read"}
        )

    @property
    def url(self) -> str:
        return self.server.git_url(self.repository)

    def tip(self, ref: str = "refs/heads/main") -> str | None:
        return gitwork.tip(self.repository.folder, ref)

    def refs(self) -> dict[str, str]:
        return gitwork.refs(self.repository.folder)

    def land(self, files: dict[str, bytes | None], **more: Any) -> str:
        """A change of the base branch by a person."""
        return self.state.push(self.ada, self.repository, "main", files, **more)


Mirrors = Callable[..., OpsRepository]


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "forge").mkdir()
    with ForgeServer(State(tmp_path / "forge")) as server:
        yield Forge(server, dict(FIRST))


@pytest.fixture
async def mirrors(forge: Forge, tmp_path: Path) -> AsyncIterator[Mirrors]:
    """Makes mirrors of the forge's repository; each is closed in the end."""
    made: list[OpsRepository] = []

    def make(*, login: Login | None = None, **settings: Any) -> OpsRepository:
        path = tmp_path / f"mirror{len(made)}.git"
        upstream = login or Login(forge.url)
        create_mirror(path, upstream.url)

        first = forge.tip() or ""

        async def adopted() -> str:
            return first

        repository = OpsRepository(RepoSettings(path=path, **settings), adopted, upstream)
        made.append(repository)
        return repository

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def mirror(mirrors: Mirrors) -> OpsRepository:
    return mirrors()
