"""`gitmedic forge connect`, `show` and `disconnect` as processes, against a forge that is really there."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import psycopg
import pytest

from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from tests.fix_connect import TOKEN, Homestead, Homesteads
from tests.forges import gitwork

pytestmark = pytest.mark.anyio
KINDS = ["github", "gitea", "gitlab"]
HOOKED = "https://gitmedic.example.org"
RUN = "01939a00-1111-7000-8000-000000000001"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def a_claim(home: Homestead) -> str:
    made = gitwork.git(home.bare, "commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "-m", "claim")
    gitwork.git(home.bare, "update-ref", f"refs/gitmedic/claims/{RUN}", made)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_repository_gets_our_history(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    claim, before = a_claim(home), home.settings
    said = home.connected()
    assert (said["repository"], said["history"]) == (str(home.repository.id), "pushed")
    assert (said["login"], said["pending"], said["claims"], said["webhook"]) == ("gitmedic-bot", 0, 1, "")
    there = gitwork.refs(home.repository.folder)
    assert there["refs/heads/main"] == home.base() and there[f"refs/gitmedic/claims/{RUN}"] == claim
    assert home.settings.startswith(before.rstrip("\n")) and "[forge]" in home.settings
    shown = json.loads(home.run("forge", "show", "--json").stdout)
    assert (shown["kind"], shown["account"]) == (kind, str(home.people["gitmedic-bot"].id))
    assert shown["poll_seconds"] == 20
    assert "restart gitmedic up" in home.said
    assert home.run("config", "check").returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_again_is_harmless(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.connected()
    settings, refs, tip = home.settings, gitwork.refs(home.repository.folder), home.base()
    again = home.connected()
    assert again["history"] == "there"
    assert (home.settings, gitwork.refs(home.repository.folder), home.base()) == (settings, refs, tip)


@pytest.mark.parametrize("kind", KINDS)
def test_the_webhook_is_made_kept_and_deleted(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    home.repository.rights[home.people["gitmedic-bot"].id] = "admin"
    said = home.connected("--allow-admin", "--hook-url", HOOKED)
    address = f"{HOOKED}/hooks/{kind}/{home.repository.id}"
    assert (said["webhook"], said["poll_seconds"]) == (address, 60)
    secret = home.data_dir / "secrets" / "forge-webhook"
    (hook,) = home.repository.hooks
    assert (hook.url, hook.secret) == (address, secret.read_text().strip()) and len(hook.secret) > 40
    assert (mode(secret), mode(secret.parent)) == (0o600, 0o700)
    home.connected("--allow-admin", "--hook-url", HOOKED)
    assert home.repository.hooks == [hook]
    # whoever lost the secret gets a new one, and the forge is told
    secret.unlink()
    home.connected("--allow-admin", "--hook-url", HOOKED)
    (other,) = home.repository.hooks
    assert (other.url, other.secret) == (address, secret.read_text().strip()) and other.secret != hook.secret
    assert json.loads(home.run("forge", "disconnect", "--json").stdout)["hook_deleted"] is True
    assert home.repository.hooks == []
    assert hook.secret not in home.said and other.secret not in home.said


def test_without_the_right_to_make_webhooks_it_says_what_to_enter(homesteads: Homesteads):
    home = homesteads("github")
    said = home.connected("--hook-url", HOOKED)
    assert (said["webhook"], said["poll_seconds"]) == ("", 20)
    (step,) = [one for one in said["by_hand"] if one.startswith("webhook")]
    secret = home.data_dir / "secrets" / "forge-webhook"
    assert f"{HOOKED}/hooks/github/{home.repository.id}" in step and str(secret) in step
    assert secret.read_text().strip() not in home.said
    assert "webhook_secret_file" in home.settings


def test_an_address_that_gitea_does_not_call_is_told_with_its_remedy(homesteads: Homesteads):
    home = homesteads("gitea")
    home.repository.rights[home.people["gitmedic-bot"].id] = "admin"
    home.state.calls_outside = False  # type: ignore[attr-defined]
    assert home.connected("--allow-admin", "--hook-url", HOOKED)["webhook"] == ""
    assert "ALLOWED_HOST_LIST" in home.said


def test_a_related_repository_is_taken_as_it_is(homesteads: Homesteads):
    home = homesteads()
    gitwork.git(home.repository.folder, "fetch", "-q", str(home.bare), "+refs/heads/main:refs/heads/main")
    newer = home.state.push(home.people["ada"], home.repository, "main", {"inventory/hosts.yml": b"all: {hosts: {}}\n"})
    said = home.connected()
    assert (said["history"], said["pending"], home.base()) == ("there", 1, newer)


def test_an_older_one_is_brought_forward(homesteads: Homesteads):
    home = homesteads()
    gitwork.git(home.repository.folder, "fetch", "-q", str(home.bare), "+refs/heads/main:refs/heads/main")
    made = gitwork.commit(home.bare, home.base(), {"runs/x.yml": b"x"}, "Run", ("A", "a@b.org"))
    gitwork.git(home.bare, "update-ref", "refs/heads/main", made)
    assert home.connected()["history"] == "pushed"
    assert home.base(home.repository.folder) == made


def test_what_only_we_have_is_kept_under_a_name(homesteads: Homesteads):
    home = homesteads()
    gitwork.git(home.repository.folder, "fetch", "-q", str(home.bare), "+refs/heads/main:refs/heads/main")
    theirs = home.state.push(home.people["ada"], home.repository, "main", {"notes": b"n"})
    ours = gitwork.commit(home.bare, home.base(), {"runs/x.yml": b"x"}, "Run", ("A", "a@b.org"))
    gitwork.git(home.bare, "update-ref", "refs/heads/main", ours)
    assert home.connected()["history"] == "kept"
    assert home.base() == theirs == home.base(home.repository.folder)
    assert gitwork.refs(home.bare)[f"refs/gitmedic/before/{ours}"] == ours


def test_back_on_our_own_pages_everything_is_still_there(homesteads: Homesteads):
    home = homesteads()
    before, claim = home.settings, a_claim(home)
    home.connected()
    pushed = gitwork.git(home.folder / "work" / ".git", "push", str(home.bare), "HEAD~0:refs/heads/topic", check=False)
    assert "refs/heads/topic" not in gitwork.refs(home.bare), pushed
    theirs = home.state.push(home.people["ada"], home.repository, "main", {"notes": b"n"})
    done = home.run("forge", "disconnect")
    assert done.returncode == 0, done.stderr
    assert home.settings.rstrip("\n") == before.rstrip("\n")
    assert home.base() == theirs
    assert gitwork.refs(home.bare)[f"refs/gitmedic/claims/{RUN}"] == claim
    gitwork.git(home.folder / "work" / ".git", "push", str(home.bare), "HEAD:refs/heads/topic")
    assert "refs/heads/topic" in gitwork.refs(home.bare)
    assert json.loads(home.run("forge", "show", "--json").stdout)["kind"] == "local"


async def test_after_the_way_back_a_proposal_is_made_here(homesteads: Homesteads):
    home = homesteads()
    home.connected()
    assert home.run("forge", "disconnect").returncode == 0
    tip = home.base()

    async def adopted() -> str:
        return tip

    repo = OpsRepository(RepoSettings(path=home.bare), adopted)
    try:
        path = f"runs/2026/11/21/{RUN}.yml"
        head, base = await repo.propose(branch=f"gitmedic/{RUN}", path=path, content=b"x", message="Run")
        assert base == tip and gitwork.refs(home.bare)[f"refs/heads/gitmedic/{RUN}"] == head
    finally:
        await repo.close()
    assert f"refs/heads/gitmedic/{RUN}" not in gitwork.refs(home.repository.folder)


def test_claims_become_tags_where_the_forge_takes_nothing_else(homesteads: Homesteads):
    home = homesteads()
    claim = a_claim(home)
    home.repository.refused_refs = ("refs/gitmedic/*",)
    assert home.connected()["claims"] == 1
    assert gitwork.refs(home.repository.folder)[f"refs/tags/gitmedic-claim-{RUN}"] == claim
    assert home.connected()["claims"] == 0


def test_open_proposals_are_decided_first(homesteads: Homesteads):
    home = homesteads()
    waiting = "INSERT INTO cases (id, kind, body, role, proposal) VALUES (%s, 'proposed', '{}', 'plan', 7)"
    with psycopg.connect(home.database, autocommit=True) as connection:
        connection.execute(waiting, (RUN,))
        done = home.connect()
        assert done.returncode == 5 and "gitmedic case list --state proposed" in done.stderr
        assert "[forge]" not in home.settings and gitwork.refs(home.repository.folder) == {}
        connection.execute("UPDATE cases SET is_open = false")
        home.connected()
        connection.execute("UPDATE cases SET is_open = true")
        assert home.connected()["history"] == "there"  # the same forge: its proposals stay where they are
        done = home.run("forge", "disconnect")
        assert done.returncode == 5 and "gitmedic case list --state proposed" in done.stderr
        assert "[forge]" in home.settings


def test_the_token_is_nowhere_but_in_its_file(homesteads: Homesteads):
    home = homesteads()
    home.connected()
    home.run("doctor", "-vv")
    home.run("config", "show")
    assert TOKEN not in home.said
    for path in home.data_dir.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
