"""An executor far from the built-in forge: the ops repository is fetched and claimed by git alone, over a real sshd."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.adapters.repo.creation import create_mirror
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.adapters.repo.upstream import check_address
from receiver.errors import Refused
from receiver.forges import RepoGit
from tests.fix_repo import RUN
from tests.fix_sshd import SshHost

pytestmark = pytest.mark.anyio
ONLY_GIT = 'restrict,command="git shell -c \\"$SSH_ORIGINAL_COMMAND\\"" '


def head(bare: Path) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(bare), "rev-parse", "main"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def far(ssh_hosts: Callable[[str, str], SshHost], bare: Path, tmp_path: Path) -> dict[str, object]:
    """The repository on another host, and what an executor needs to reach it."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    host = ssh_hosts("first", ONLY_GIT + key.with_suffix(".pub").read_text())
    there = host.home / "ops.git"
    shutil.copytree(bare, there, symlinks=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "61101", str(there)], check=True)
    (tmp_path / "known").write_text(host.known_line + "\n")
    return {
        "url": f"ssh://{host.user}@127.0.0.1:{host.port}{there}", "ssh_key_file": key,
        "known_hosts_file": tmp_path / "known",
    }  # fmt: skip


def executor(far: dict[str, object], path: Path, commit: str) -> OpsRepository:
    settings = RepoSettings.model_validate(far | {"path": path})
    create_mirror(path, settings.url)

    async def adopted() -> str:
        return commit

    return OpsRepository(settings, adopted, RepoGit(settings))


async def test_what_is_in_force_is_fetched_and_a_run_claimed_once(
    far: dict[str, object], bare: Path, tmp_path: Path
) -> None:
    commit = head(bare)
    one, two = (executor(far, tmp_path / name / "ops.git", commit) for name in ("one", "two"))
    try:
        assert (await one.revision(await one.adopted())).commit == commit
        assert await one.claim(RUN, "one", "0123456789abcdef")
        assert not await two.claim(RUN, "two", "fedcba9876543210")
    finally:
        await one.close()
        await two.close()


async def test_another_host_key_is_not_believed(far: dict[str, object], bare: Path, tmp_path: Path) -> None:
    Path(str(far["known_hosts_file"])).write_text("")
    ops = executor(far, tmp_path / "one" / "ops.git", head(bare))
    try:
        with pytest.raises(Refused, match="Host key verification failed") as caught:
            await ops.fetch()
        assert caught.value.reason == "host_key"
    finally:
        await ops.close()


async def test_a_key_that_others_can_read_is_not_used(far: dict[str, object], bare: Path, tmp_path: Path) -> None:
    Path(str(far["ssh_key_file"])).chmod(0o644)
    ops = executor(far, tmp_path / "one" / "ops.git", head(bare))
    try:
        with pytest.raises(Refused, match="others can read it"):
            await ops.fetch()
    finally:
        await ops.close()


@pytest.mark.parametrize(
    "url",
    ["ssh://-oProxyCommand=x@h/p", "ssh://u@-h/p", "ssh://u@h", "ssh://u@h/-p", "ssh://u@h/a b", "ssh://h/p",
     "ssh://u:geheim@h/p", "git://h/p", "ext::sh -c x", "ssh://u@h/p;x", "ssh://u@h/../p"],
)  # fmt: skip
def test_an_address_that_ssh_could_misread_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_address(url)
    assert "geheim" not in caught.value.message
