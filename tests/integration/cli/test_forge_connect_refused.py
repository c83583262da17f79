"""What `gitmedic forge connect` refuses: each time with the next step, and with nothing changed here or there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fix_connect import TOKEN, Homestead, Homesteads, me
from tests.forges import gitwork
from tests.integration.cli.processes import environment

KINDS = ["github", "gitea", "gitlab"]


@pytest.fixture
def home(homesteads: Homesteads) -> Homestead:
    return homesteads("gitea")


def refused(home: Homestead, *more: str, code: int = 5, url: str = "") -> str:
    """The words of a refusal, after it is known that nothing moved."""
    before = (home.settings, gitwork.refs(home.bare), gitwork.refs(home.repository.folder))
    config = (home.bare / "config").read_text()
    done = home.connect(*more, url=url)
    assert done.returncode == code, done.stderr
    assert "next: " in done.stderr and "a bug" not in done.stderr and TOKEN not in done.stderr
    assert (home.settings, gitwork.refs(home.bare), gitwork.refs(home.repository.folder)) == before
    assert (home.bare / "config").read_text() == config
    assert not (home.data_dir / "secrets").exists()
    return done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_an_unrelated_history(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.repository = home.add("ops", "other", files={"README.md": b"other\n"})
    said = refused(home)
    assert "the histories differ" in said and "--allow-unrelated-histories" in said


@pytest.mark.parametrize(("kind", "scopes", "word"), [
    ("github", {"read:org"}, "scope"), ("gitea", {"read:user", "read:repository"}, "write:"),
    ("gitlab", {"read_api"}, "scope `api`"),
])  # fmt: skip
def test_a_token_without_the_scopes(homesteads: Homesteads, kind: str, scopes: set[str], word: str):
    home = homesteads(kind)
    home.people["gitmedic-bot"].tokens[TOKEN] = scopes
    assert word in refused(home)


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_with_the_right_to_read_only(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.repository.rights[home.people["gitmedic-bot"].id] = "read"
    assert "next: it takes" in refused(home)


@pytest.mark.parametrize("kind", KINDS)
def test_an_administrator(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.repository.rights[home.people["gitmedic-bot"].id] = "admin"
    assert "--allow-admin" in refused(home)
    assert home.connect("--allow-admin").returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_nobodys(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.put("gone-0f3a9c55")
    assert f"make a new token as docs/howto/forge-{kind}.md says" in refused(home)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archived_repository(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.repository.archived = True
    assert "archived" in refused(home)


@pytest.mark.parametrize("kind", KINDS)
def test_a_renamed_repository(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    old = f"{home.state.url}/{home.repository.full_name}"
    home.state.rename(home.repository, "renamed")
    assert "address" in refused(home, url=old)
    assert home.connect().returncode == 0


def test_a_repository_that_is_not_there(home: Homestead):
    assert "see that the address is right" in refused(home, url=f"{home.state.url}/ops/none")


def test_another_default_branch(home: Homestead):
    home.repository.default_branch = "trunk"
    assert '[repo] base = "trunk"' in refused(home)


def test_branches_without_the_base(home: Homestead):
    gitwork.git(home.repository.folder, "fetch", "-q", str(home.bare), "+refs/heads/main:refs/heads/trunk")
    assert "no 'main'" in refused(home)


def test_an_account_that_may_be_a_persons(home: Homestead):
    assert "--bot gitmedic-bot" in refused(home, "--bot", "")
    assert "--bot says 'ada'" in refused(home, "--bot", "ada")


@pytest.mark.parametrize("said", ["gitmedic-bot", "id:{id}"])
def test_the_account_of_a_person_of_policy_yml(home: Homestead, said: str):
    said = said.format(id=home.people["gitmedic-bot"].id)
    home.change_policy("    approves: medium", f'    forges: {{gitea: "{said}"}}\n    approves: medium')
    words = refused(home)
    assert f"who is {me()} in policy.yml" in words and "cannot approve it" in words


def test_a_base_that_the_account_may_not_push_to(home: Homestead):
    home.repository.refused_refs = ("refs/heads/main",)
    assert f"push {home.server.git_url(home.repository)} main" in refused(home)


@pytest.mark.parametrize("url", [
    "http://git.example.org/ops/infra", "git@git.example.org:ops/infra", "https://git.example.org/ops",
    "https://bot:secret@git.example.org/ops/infra", "https://git.example.org/ops/infra/src/branch/main",
])  # fmt: skip
def test_an_address_that_is_none(home: Homestead, url: str):
    assert "secret" not in refused(home, url=url, code=2)


def test_a_token_that_others_can_read(home: Homestead):
    home.token_file.chmod(0o644)
    assert "chmod 600" in refused(home, code=2)


def test_nobody_who_could_type_a_token(home: Homestead):
    done = home.run("forge", "connect", "gitea", f"{home.state.url}/ops/infra")
    assert done.returncode == 2 and "--token-file" in done.stderr


def test_a_settings_file_that_is_not_edited(home: Homestead):
    file = home.data_dir / "gitmedic.toml"
    file.write_text('forge = {kind = "local"}\n' + file.read_text())
    assert "write the table by hand" in refused(home, code=3)


def test_another_forge_while_one_is_connected(home: Homestead):
    assert home.connect().returncode == 0
    second = home.add("ops", "second")
    done = home.connect(url=f"{home.state.url}/ops/second")
    assert done.returncode == 5 and "gitmedic forge disconnect" in done.stderr
    assert gitwork.refs(second.folder) == {}


def test_a_certificate_that_nobody_vouches_for(homesteads: Homesteads):
    home = homesteads("gitea", tls=True)
    assert "--ca-file" in refused(home)
    done = home.connect("--ca-file", str(home.server.ca_file))
    assert done.returncode == 0, done.stderr
    assert f'ca_file = "{home.server.ca_file}"' in home.settings
    assert home.doctor()["forge: clock"][0]["status"] == "ok"


def test_a_forge_that_is_away(home: Homestead):
    home.server.faults.add("GET", "/api/v1/user", "lost before the effect", times=9)
    done = home.connect()
    assert done.returncode == 4 and "[forge]" not in home.settings


def test_a_token_is_typed_without_an_echo(home: Homestead):
    ours, theirs = pty.openpty()
    env = environment(GITMEDIC_DATA_DIR=str(home.data_dir), GITMEDIC_DATABASE__URL=home.url)
    url = f"{home.state.url}/{home.repository.full_name}"
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "forge", "connect", "gitea", url, "--bot", "gitmedic-bot"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()
    asked = threading.Event()

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                said.extend(part)
                if b"token: " in said:
                    asked.set()
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    assert asked.wait(30), said
    assert TOKEN.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    os.write(ours, f"{TOKEN}\n".encode())
    assert process.wait(60) == 0, said.decode()
    reader.join(10)
    os.close(ours)
    assert TOKEN.encode() not in said
    kept = home.data_dir / "secrets" / "forge-token"
    assert (kept.read_text().strip(), kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (
        TOKEN, 0o600, 0o700,
    )  # fmt: skip
