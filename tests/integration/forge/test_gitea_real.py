"""The contract of a forge, and what its double plays, on a real Gitea or Forgejo.

Runs where `GITMEDIC_TEST_GITEA` names a binary; without one it says that it did not run.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.remote import RemoteForge
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account
from tests.contract.places import Pushed
from tests.contract.test_forge import *  # noqa: F403 - the same suite in this place
from tests.forges.gitea_server import GiteaServer, RealGitea

if not os.environ.get("GITMEDIC_TEST_GITEA"):
    pytest.skip("GITMEDIC_TEST_GITEA names no binary: nothing was asked of a real Gitea", allow_module_level=True)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GiteaServer]:
    with GiteaServer(Path(os.environ["GITMEDIC_TEST_GITEA"]), tmp_path_factory.mktemp("gitea")) as running:
        yield running


@pytest.fixture
async def place(server: GiteaServer, ops: Any, bare: Path, pool: Any) -> AsyncIterator[RealGitea]:
    made = server.repository(bare)
    settings = ForgeSettings.model_validate({
        "kind": "gitea", "url": f"{server.url}/{made['full_name']}", "repository": str(made["id"]),
        "account": str(server.ids["gitmedic-bot"]), "login": "gitmedic-bot", "write_seconds": 0,
        "token_file": "/nowhere",
    })  # fmt: skip
    dialect = Gitea(settings, "main", secret=server.tokens["gitmedic-bot"])
    account = Account(forge="gitea", id=settings.account, login=settings.login)
    forge = RemoteForge(dialect, pool, repository=settings.repository, base="main", account=account)
    here = RealGitea(forge, Pushed(ops, bare, settings.git_url, dialect))  # type: ignore[arg-type]
    here.server, here.name, here.bot = server, made["full_name"], account
    yield here
    await dialect.aclose()
