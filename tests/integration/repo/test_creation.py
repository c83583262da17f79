"""How the bare repository is made, what its hook refuses, and how git is started."""

import os
import subprocess
from pathlib import Path

import pytest

from receiver.adapters.repo import process
from receiver.adapters.repo.creation import clone_work_tree, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.settings import RepoSettings
from receiver.errors import Conflict, Invalid, Refused, Unavailable
from tests.fix_repo import BRANCH, CONTENT, FIRST, PATH, Person

pytestmark = pytest.mark.anyio


def test_the_first_commit(person: Person):
    tracked = person.say("ls-files").splitlines()
    assert sorted(FIRST) == tracked
    assert person.say("log", "--format=%an <%ae>|%cn") == "Ada <ada@example.org>|gitmedic"
    assert person.say("remote") == "gitmedic"
    assert person.say("rev-parse", "--abbrev-ref", "main@{upstream}") == "gitmedic/main"
    assert (person.folder / "policy.yml").read_bytes() == FIRST["policy.yml"]


def test_odd_names_and_no_files(tmp_path: Path):
    odd = {'a "b"/c\\d é.yml': b"x", "e": b""}
    create_ops_repository(tmp_path / "odd.git", odd, "Ada <ada@example.org>", base="trunk")
    clone_work_tree(tmp_path / "odd.git", tmp_path / "odd")
    files = [path for path in (tmp_path / "odd").rglob("*") if path.is_file() and ".git/" not in str(path)]
    assert {str(path.relative_to(tmp_path / "odd")): path.read_bytes() for path in files} == odd
    create_ops_repository(tmp_path / "none.git", {}, "Ada <ada@example.org>")


@pytest.mark.parametrize("name", ["../x", "/x", "a/.git/hooks/update", "a/.GIT/x", "a\nb", "", "a//b", "a\u202eb"])
def test_names_that_leave_the_repository(tmp_path: Path, name: str):
    with pytest.raises(Invalid):
        create_ops_repository(tmp_path / "ops.git", {name: b""}, "Ada <ada@example.org>")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("author", ["Ada", "Ada <>", "A\nB <a@b>", "Ada <a@b> now\nfrom x"])
def test_authors_that_are_more(tmp_path: Path, author: str):
    with pytest.raises(Invalid):
        create_ops_repository(tmp_path / "ops.git", {}, author)


def test_never_over_something(bare: Path, tmp_path: Path):
    with pytest.raises(Conflict, match="there already"):
        create_ops_repository(bare, {}, "Ada <ada@example.org>")
    with pytest.raises(Conflict, match="there already"):
        clone_work_tree(bare, tmp_path)


def test_half_a_repository_is_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("receiver.adapters.repo.creation.install_hook", fail)
    with pytest.raises(OSError, match="disk full"):
        create_ops_repository(tmp_path / "ops.git", FIRST, "Ada <ada@example.org>")
    assert list(tmp_path.iterdir()) == []


def test_the_base_branch_only_moves_forward(person: Person, bare: Path):
    person.write("a", b"a")
    person.commit("a")
    assert person.push("main").returncode == 0
    person.git("commit", "-q", "--amend", "-m", "b")
    refused = person.push("main", "--force")
    assert refused.returncode != 0
    assert "only moves forward" in refused.stderr
    assert person.push(":refs/heads/main").returncode != 0
    person.git("--git-dir", str(bare), "config", "receive.denyDeleteCurrent", "ignore")
    assert "it is never deleted" in person.push(":refs/heads/main").stderr  # our hook, without git's own rule
    person.git("checkout", "-q", "--orphan", "other")
    person.commit("unrelated")
    assert person.push("other:main", "--force").returncode != 0
    assert person.push("other:topic").returncode == 0
    assert person.push(":topic").returncode == 0


async def test_nothing_of_the_caller_reaches_git(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marker = tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[core]\n\tfsmonitor = {script}\n[user]\n\tname = Evil\n")
    for name, value in {
        "HOME": str(home), "GIT_DIR": "/nonexistent", "GIT_OBJECT_DIRECTORY": "/nonexistent",
        "GIT_INDEX_FILE": "/nonexistent", "GIT_EXTERNAL_DIFF": str(script), "GIT_AUTHOR_NAME": "Evil",
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "alias.cat-file", "GIT_CONFIG_VALUE_0": f"!{script}",
        "GIT_NAMESPACE": "evil", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nonexistent", "SECRET_TOKEN": "s3cret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    async def adopted() -> str:
        return await repository.tip()

    repository = OpsRepository(RepoSettings(path=bare), adopted)
    head, base = await repository.propose(branch=BRANCH, path=PATH, content=CONTENT, message="m")
    await repository.diff(base, head)
    seen = repository._git.run("var", "GIT_AUTHOR_IDENT").stdout
    await repository.close()
    assert seen.startswith(b"gitmedic <gitmedic@localhost>")
    assert not marker.exists()
    assert not any("SECRET" in name or "EVIL" in name.upper() for name in process.environment(RepoSettings(path=bare)))


async def test_hooks_run_for_people_and_not_for_us(bare: Path, person: Person, ops: OpsRepository, tmp_path: Path):
    marker = tmp_path / "hook-ran"
    hook = bare / "hooks" / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    await ops.propose(branch=BRANCH, path=PATH, content=CONTENT, message="m")
    assert not marker.exists()
    assert person.push("main:topic").returncode == 0
    assert marker.exists()


def test_another_owner_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: bare.stat().st_uid + 1)
    with pytest.raises(Refused, match="belongs to OS user") as refused:
        Git(RepoSettings(path=bare))
    assert "run gitmedic as" in refused.value.next_step


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_root_does_not_trust_a_repository_of_a_user(bare: Path):
    os.chown(bare, 65534, 65534)
    with pytest.raises(Refused, match="belongs to OS user"):
        Git(RepoSettings(path=bare))


def test_no_repository(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(Refused, match="no bare git repository"):
            Git(RepoSettings(path=path))


def test_no_git(bare: Path, tmp_path: Path):
    git = Git(RepoSettings(path=bare))
    git._start[2] = f"PATH={tmp_path}"
    with pytest.raises(Refused, match="no git on PATH"):
        git.run("version")


def test_git_that_hangs_is_ended(bare: Path):
    git = Git(RepoSettings(path=bare, timeout_seconds=0.3))
    with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
        git.run("-c", "alias.hang=!sleep 20", "hang")


def test_what_git_says_is_in_the_message(bare: Path):
    git = Git(RepoSettings(path=bare))
    with pytest.raises(Unavailable, match="Not a valid object name"):
        git.run("ls-tree", "0" * 39)


def test_the_repository_prunes_nothing_and_syncs_everything(bare: Path):
    def config(name: str) -> str:
        return subprocess.run(
            ["git", "--git-dir", str(bare), "config", name], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert config("core.fsync") == "all"
    assert config("gc.pruneExpire") == "never"
    assert config("receive.fsckObjects") == "true"
    assert os.access(bare / "hooks" / "update", os.X_OK)
