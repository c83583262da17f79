"""The contract of a forge, and what its double plays, on a real Gitea or Forgejo.

Runs where `GITMEDIC_TEST_GITEA` names a binary; without one it says that it did not run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.remote import RemoteForge
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account
from receiver.errors import Refused
from tests.contract.places import Pushed
from tests.contract.test_forge import *  # noqa: F403 - the same suite in this place
from tests.forges import gitwork
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


# --- what the double plays


def committed(place: RealGitea, person: str, branch: str, path: str, *, new: str = "", onto: str = "") -> str:
    """A commit of a person at a branch, or at a new one from it; `onto`: another repository of theirs."""
    body = {"content": "eA==", "message": "Change", "branch": branch} | ({"new_branch": new} if new else {})
    made = place.server.ask(person, "POST", f"repos/{onto or place.name}/contents/{path}", body)
    return str(made["commit"]["sha"])


async def eventually(ask: Any, seconds: float = 10.0) -> Any:
    """What the forge works out after a push."""
    for _ in range(int(seconds / 0.2)):
        found = await ask()
        if found:
            return found
        await anyio.sleep(0.2)
    raise AssertionError("it never came")


async def test_a_deleted_branch_keeps_its_name_and_may_come_back(place: RealGitea):
    number, head = await place.open()
    branch = (await place.forge.read(number)).head_ref
    place.ask("bob", "DELETE", f"branches/{branch}")

    async def closed() -> Any:
        pull = await place.forge.read(number)
        return pull if pull.state == "closed" else None

    pull = await eventually(closed)
    assert (pull.head_ref, pull.head_sha, pull.same_repository) == (branch, head, True)
    assert pull.closed_by == place.account("bob")
    # Gitea leaves it closed, and shows the head that the new branch has
    pushed = committed(place, "bob", "main", "b.txt", new=branch)
    await anyio.sleep(1.5)
    again = await place.forge.read(number)
    assert (again.state, again.head_sha) == ("closed", pushed)


async def test_forks_and_heads_without_a_branch_are_not_ours(place: RealGitea, tmp_path: Path):
    fork = place.ask("eve", "POST", "forks", {"name": f"fork-{place.name.rpartition('/')[2]}"})["full_name"]
    committed(place, "eve", "main", "f.txt", new="gitmedic/x", onto=fork)

    async def opened() -> Any:
        body = {"title": "Mine", "head": "eve:gitmedic/x", "base": "main"}
        made = place.ask("eve", "POST", "pulls", body, fine=(404,))
        return made if made != 404 else None

    theirs = await eventually(opened)
    assert not (await place.forge.read(theirs["number"])).same_repository
    assert await place.forge.dialect.find("gitmedic/x") is None
    bare = tmp_path / "mine.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    place.server.push("eve", bare, place.name, fetch=True)
    head = gitwork.commit(bare, gitwork.tip(bare, "refs/heads/main"), {"a.txt": b"a"}, "a", ("Eve", "eve@example.org"))
    place.server.push("eve", bare, place.name, f"{head}:refs/for/main", "-o", "topic=topic")
    (number,) = [one["number"] for one in place.ask("ada", "GET", "pulls") if one["user"]["login"] == "eve"][:1]
    pull = await place.forge.read(number)
    assert (pull.head_sha, pull.same_repository) == (head, False)


async def test_who_opened_and_who_pushed(place: RealGitea):
    committed(place, "bob", "main", "t.txt", new="topic")

    async def opened() -> Any:
        made = place.ask("ada", "POST", "pulls", {"title": "T", "head": "topic", "base": "main"}, fine=(404,))
        return made if made != 404 else None

    number = (await eventually(opened))["number"]
    assert (await place.forge.read(number)).pushed_by is None
    await anyio.sleep(3)
    head = committed(place, "bob", "topic", "t2.txt")

    async def known() -> Any:
        pull = await place.forge.read(number)
        return pull if pull.pushed_by else None

    pull = await eventually(known)
    assert (pull.head_sha, pull.pushed_by) == (head, place.account("bob"))


async def test_called_merged_by_hand(place: RealGitea):
    number, _ = await place.open()
    place.ask("ada", "PATCH", "", {"has_pull_requests": True, "allow_manual_merge": True})
    old = await place.tip()
    place.ask("bob", "POST", f"pulls/{number}/merge", {"Do": "manually-merged", "merge_commit_id": old})
    pull = await place.forge.read(number)
    assert (pull.state, pull.merge_sha, pull.merged_by) == ("merged", old, place.account("bob"))
    assert "a pull request can be called merged by hand" in (await place.forge.posture()).weaknesses


async def test_a_merge_by_a_push_is_nobodys_word(place: RealGitea, bare: Path):
    number, head = await place.open()
    place.ask("ada", "PATCH", "", {"has_pull_requests": True, "autodetect_manual_merge": True})
    place.server.push("bob", bare, place.name, f"{head}:refs/heads/main")

    async def merged() -> Any:
        pull = await place.forge.read(number)
        return pull if pull.state == "merged" else None

    pull = await eventually(merged)
    assert (pull.merge_sha, pull.merged_by) == (head, None)
    assert place.ask("ada", "GET", f"pulls/{number}")["merged_by"]["login"] == "bob"


async def test_stale_by_content_and_who_may_write_now(place: RealGitea):
    number, head = await place.open()
    await place.approves("ada", number)
    await place.approves("eve", number)
    said = {one.by.login: (one.stands, one.may_write) for one in (await place.forge.read(number)).reviews}
    assert said == {"ada": (True, True), "eve": (True, False)}
    place.ask("ops", "PUT", "collaborators/ada", {"permission": "read"})
    said = {one.by.login: (one.stands, one.may_write) for one in (await place.forge.read(number)).reviews}
    assert said == {"ada": (True, False), "eve": (True, False)}
    await place.pushes("bob", number)

    async def stale() -> Any:
        pull = await place.forge.read(number)
        return pull if not any(one.stands for one in pull.reviews) else None

    assert {one.head_sha for one in (await eventually(stale)).reviews} == {head}
    place.ask("bob", "POST", f"pulls/{number}/reviews", {"event": "APPROVED", "commit_id": "f" * 40}, fine=(404, 500))
    assert not any(one.stands for one in (await place.forge.read(number)).reviews)


async def test_rights_and_what_the_account_lacks(place: RealGitea):
    rights = await place.forge.dialect.rights()
    assert (rights.missing, rights.may_push, rights.is_admin, rights.full_name) == ((), True, False, place.name)
    place.ask("ops", "PUT", "collaborators/gitmedic-bot", {"permission": "read"})
    assert not (await place.forge.dialect.rights()).may_push
    place.ask("ops", "PATCH", "", {"archived": True})
    rights = await place.forge.dialect.rights()
    assert rights.archived
    with pytest.raises(Refused, match="423"):
        await place.forge.dialect.write_comment(1, "x", None)


async def test_the_rules_as_an_administrator_sees_them(place: RealGitea):
    place.ask("ada", "POST", "branch_protections", {"rule_name": "ma*", "required_approvals": 2})
    number, head = await place.open()
    with pytest.raises(Refused, match="approvals") as refused:
        await place.forge.dialect.merge(number, head)
    assert f"/pulls/{number}" in refused.value.next_step
    place.ask("ops", "PUT", "collaborators/gitmedic-bot", {"permission": "admin"})
    seen = await place.forge.dialect.posture("main")
    assert (seen.protected, seen.reviews, seen.force_push, seen.admins_bypass) == (True, 2, False, True)
    made = await place.forge.dialect.make_hook(f"{place.server.url}/none", "secret")
    assert await place.forge.dialect.hooks() == [made]
