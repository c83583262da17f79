"""A real bare ops repository for a test, and a person with a work tree and an ordinary git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from receiver.adapters.repo.creation import clone_work_tree, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.proposal import Proposal

RUN = "01939a00-1111-7000-8000-000000000001"
PATH = f"runs/2026/11/21/{RUN}.yml"
BRANCH = f"gitmedic/{RUN}"
CONTENT = b"schema: 1\nrun: " + RUN.encode() + b"\n"
FIRST = {
    "policy.yml": b"mode: propose\n",
    "playbooks/web/restart/playbook.yml": b"- hosts: targets\n  roles: [base]\n",
    "playbooks/web/restart/catalog.yml": b"schema: 1\n",
    "playbooks/web/restart/tasks/main.yml": b"[]\n",
    "playbooks/web/restart/README.md": b"Restart\n",
    "roles/base/tasks/main.yml": b"[]\n",
    "roles/other/library/evil.py": b"print()\n",
    "collections.lock": b"{}\n",
    "inventory/hosts.yml": b"all: {hosts: {web1: {}}}\n",
    "prompts/plan.j2": b"Plan.\n",
}


class Person:
    """Somebody with a clone; every command as they would type it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.folder.parent),
            "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
            "GIT_MERGE_AUTOEDIT": "no", "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environment, check=check, capture_output=True, text=True
        )

    def say(self, *arguments: str) -> str:
        return self.git(*arguments).stdout.strip()

    def write(self, path: str, content: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def commit(self, message: str, **files: bytes) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.say("rev-parse", "HEAD")

    def fetch(self) -> None:
        self.git("fetch", "-q", "gitmedic")

    def on_main(self) -> None:
        self.fetch()
        self.git("checkout", "-q", "-B", "main", "gitmedic/main")

    def push(self, what: str = "main", *options: str) -> subprocess.CompletedProcess[str]:
        return self.git("push", "-q", *options, "gitmedic", what, check=False)

    def push_main(self) -> str:
        done = self.push("HEAD:refs/heads/main")
        assert done.returncode == 0, done.stderr
        return self.say("rev-parse", "HEAD")


@pytest.fixture(scope="session")
def first_bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "ops.git"
    create_ops_repository(path, FIRST, "Ada <ada@example.org>")
    return path


@pytest.fixture
def bare(first_bare: Path, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ops.git"
    shutil.copytree(first_bare, path, symlinks=True)
    yield path


@pytest.fixture
def person(bare: Path, tmp_path: Path) -> Person:
    folder = tmp_path / "work"
    clone_work_tree(bare, folder)
    return Person(folder)


@pytest.fixture
async def ops(bare: Path) -> AsyncIterator[OpsRepository]:
    first = subprocess.run(
        ["git", "--git-dir", str(bare), "rev-parse", "main"], check=True, capture_output=True, text=True
    ).stdout.strip()

    async def adopted() -> str:
        return first

    repository = OpsRepository(RepoSettings(path=bare), adopted)
    yield repository
    await repository.close()


async def proposed(ops: OpsRepository, content: bytes = CONTENT) -> Proposal:
    """The usual proposal, on a branch of its own."""
    head, base = await ops.propose(branch=BRANCH, path=PATH, content=content, message="Restart web on web1")
    return Proposal(
        run_id=RUN, path=PATH, branch=BRANCH, sha256=sha256(content).hexdigest(),
        head_sha=head, base_sha=base, number=1,
        url="http://localhost/1", expires_at=datetime(2026, 11, 22, tzinfo=UTC),
    )  # fmt: skip
