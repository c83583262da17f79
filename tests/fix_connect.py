"""An initialised data directory, a forge elsewhere with people on it, and the command that connects the two."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from receiver.starter import os_user
from tests.contract.places import ELSEWHERE
from tests.forges import gitwork
from tests.forges.server import ForgeServer
from tests.forges.state import Repository
from tests.integration.cli.processes import environment, gitmedic

PEOPLE = {"gitmedic-bot": "write", "ada": "admin", "bob": "write"}
#: not a word that anything else would say
TOKEN = "gmtoken-0f3a9c55d1e24b8f"


class Homestead:
    """One installation and one forge; commands as a person types them."""

    def __init__(self, folder: Path, database: str, server: ForgeServer) -> None:
        self.folder, self.server, self.state, self.said = folder, server, server.state, ""
        self.data_dir, self.database = folder / "data", database
        known = conninfo_to_dict(database)
        self.url = f"postgresql://{known['user']}:{known['password']}@/{known['dbname']}?host={known['host']}"
        self.token_file = folder / "token"
        self.people = {
            login: self.state.add_user(login, token=TOKEN if login == "gitmedic-bot" else "") for login in PEOPLE
        }
        self.repository = self.add("ops", "infra")
        self.put(TOKEN)
        done = self.run("init", str(folder / "work"))
        assert done.returncode == 0, done.stderr

    def add(self, owner: str, name: str, *, files: dict[str, bytes] | None = None) -> Repository:
        """A repository that the bot may write to; without files there is nothing in it."""
        rights = {self.people[login].id: right for login, right in PEOPLE.items()}
        made = self.state.add_repository(owner, name, rights=rights, files=files or {"README.md": b"x"})  # type: ignore[arg-type]
        if files is None:
            gitwork.git(made.folder, "update-ref", "-d", "refs/heads/main")
        return made

    def put(self, token: str) -> None:
        self.token_file.write_text(token + "\n")
        self.token_file.chmod(0o600)

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = environment(GITMEDIC_DATA_DIR=str(self.data_dir), GITMEDIC_DATABASE__URL=self.url) | more
        done = gitmedic(*arguments, env=env)
        self.said += done.stdout + done.stderr
        return done

    def connect(self, *more: str, url: str = "") -> subprocess.CompletedProcess[str]:
        """As it goes well: the bot's token in a file."""
        url = url or f"{self.state.url}/{self.repository.full_name}"
        return self.run(
            "forge", "connect", self.state.name, url, "--token-file", str(self.token_file), "--bot", "gitmedic-bot",
            *more,
        )  # fmt: skip

    def connected(self, *more: str) -> dict[str, Any]:
        done = self.connect("--json", *more)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def doctor(self) -> dict[str, list[dict[str, Any]]]:
        """Its rows about the forge."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in json.loads(self.run("doctor", "--json").stdout)["items"]:
            if row["what"].startswith("forge"):
                found.setdefault(row["what"], []).append(row)
        return found

    @property
    def bare(self) -> Path:
        return self.data_dir / "ops.git"

    @property
    def settings(self) -> str:
        return (self.data_dir / "gitmedic.toml").read_text()

    def base(self, folder: Path | None = None) -> str:
        return gitwork.tip(folder or self.bare, "refs/heads/main") or ""

    def change_policy(self, old: str, new: str) -> None:
        """Put a policy in force, as if people had: by the database's own row."""
        text = gitwork.git(self.bare, "show", "main:policy.yml")
        assert old in text
        made = gitwork.commit(
            self.bare, self.base(), {"policy.yml": text.replace(old, new).encode() + b"\n"}, "P", ("A", "a@b.org")
        )
        gitwork.git(self.bare, "update-ref", "refs/heads/main", made)
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute("INSERT INTO adoptions (commit, actor) VALUES (%s, 'os:test')", (made,))


Homesteads = Callable[..., Homestead]


@pytest.fixture
def homesteads(tmp_path: Path, database: str) -> Iterator[Homesteads]:
    """Makes one beside a forge of a kind; in the end each request was as that forge describes its API."""
    with ExitStack() as stack:

        def make(kind: str = "gitea", *, tls: bool = False) -> Homestead:
            (tmp_path / "forge").mkdir(exist_ok=True)
            server = stack.enter_context(ForgeServer(ELSEWHERE[kind].double(tmp_path / "forge"), tls=tls))
            stack.callback(_well_spoken, server)
            return Homestead(tmp_path, database, server)

        yield make


def _well_spoken(server: ForgeServer) -> None:
    assert server.spec is not None
    assert not server.spec.violations, "\n".join(server.spec.violations)


def me() -> str:
    """The first person of policy.yml here."""
    return os_user()
