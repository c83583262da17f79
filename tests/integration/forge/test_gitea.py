"""Gitea and Forgejo where they are unlike other forges: what they call merged, official, open, and page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.adapters.forge.client import MAX_BYTES
from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account, Marks, Opening, PullRequest
from receiver.errors import Conflict, Refused, Unavailable
from tests.forges import gitwork
from tests.forges.gitea import GiteaDouble, Team
from tests.forges.server import ForgeServer
from tests.forges.state import Protection, Pull, Repository, Right, User

pytestmark = pytest.mark.anyio
PEOPLE: dict[str, Right] = {"gitmedic": "write", "ada": "admin", "bob": "write", "eve": "read"}
RUN = "runs/2026/11/21/one.yml"


class Forge:
    """A double, its people, and the adapter that speaks to it."""

    def __init__(self, server: ForgeServer, state: GiteaDouble) -> None:
        self.server, self.state = server, state
        users = {login: state.add_user(login) for login in PEOPLE}
        rights = {users[login].id: right for login, right in PEOPLE.items()}
        self.repository: Repository = state.add_repository("ops", "infra", rights=rights, files={"README.md": b"ops\n"})
        self.dialect = self.speaks()

    def speaks(self, **more: Any) -> Gitea:
        settings = ForgeSettings.model_validate({
            "kind": "gitea", "url": f"{self.state.url}/ops/infra", "repository": str(self.repository.id),
            "account": str(self.user("gitmedic").id), "login": "gitmedic", "token_file": "/nowhere", "write_seconds": 0,
        } | more)  # fmt: skip
        return Gitea(settings, "main", secret=self.state.token_of("gitmedic"))

    def user(self, login: str) -> User:
        return self.state.user(login)

    def account(self, login: str) -> Account:
        return Account(forge="gitea", id=str(self.user(login).id), login=login)

    def push(self, branch: str, by: str = "gitmedic", **files: bytes) -> str:
        named: dict[str, bytes | None] = {**files} if files else {RUN: b"run\n"}
        return self.state.push(self.user(by), self.repository, branch, named)

    async def open(self, branch: str = "gitmedic/one") -> PullRequest:
        head = self.push(branch)
        return await self.dialect.create(
            Opening(branch=branch, head_sha=head, base="main", title="Restart web", body="Why\n")
        )

    def pull(self, number: int) -> Pull:
        return self.state.pull(self.repository, number)

    def sent(self, method: str, path: str) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.server.faults.requests(method, path)]


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[Forge]:
    state = GiteaDouble(tmp_path / "forge")
    with ForgeServer(state) as server:
        here = Forge(server, state)
        yield here
        await here.dialect.aclose()
        assert server.spec is not None
        assert not server.spec.violations, "\n".join(server.spec.violations)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("receiver.adapters.forge.gitea._SETTLING", (0.01, 0.01))
    yield


# --- what they call merged


async def test_called_merged_by_hand_names_a_commit_without_our_file(forge: Forge):
    pull = await forge.open()
    old = gitwork.tip(forge.repository.folder, "refs/heads/main")
    forge.repository.styles.add("manual")
    forge.state.call_merged(forge.user("bob"), forge.pull(pull.number), str(old))
    merged = await forge.dialect.read(pull.number)
    assert (merged.state, merged.merge_sha, merged.merged_by) == ("merged", old, forge.account("bob"))
    assert RUN not in gitwork.git(forge.repository.folder, "ls-tree", "-r", "--name-only", str(old))
    assert (await forge.dialect.posture("main")).manual_merge is True


async def test_a_merge_by_a_push_is_nobodys_word(forge: Forge):
    pull = await forge.open()
    forge.state.autodetects = True
    forge.state.push(forge.user("bob"), forge.repository, "main", sha=pull.head_sha)
    merged = await forge.dialect.read(pull.number)
    assert forge.pull(pull.number).merged_by == forge.user("bob").id
    assert (merged.state, merged.merge_sha, merged.merged_by) == ("merged", pull.head_sha, None)
    assert (await forge.dialect.posture("main")).manual_merge is True


async def test_who_merged_is_not_believed_where_detection_cannot_be_seen(forge: Forge):
    forge.state.is_forgejo = True
    pull = await forge.open()
    forge.state.merge(forge.user("ada"), forge.pull(pull.number))
    merged = await forge.dialect.read(pull.number)
    assert (merged.state, merged.merged_by) == ("merged", None)
    assert (await forge.dialect.posture("main")).manual_merge is None


async def test_a_merge_names_its_head_and_asks_for_nothing_else(forge: Forge):
    pull = await forge.open()
    await forge.dialect.merge(pull.number, pull.head_sha)
    assert forge.sent("POST", "/merge$") == [
        {"Do": "merge", "do": "merge", "head_commit_id": pull.head_sha, "delete_branch_after_merge": False}
    ]
    with pytest.raises(Conflict):
        await forge.dialect.merge(pull.number, pull.head_sha)


@pytest.mark.parametrize(("styles", "sent"), [({"squash", "rebase"}, "squash"), ({"rebase"}, "rebase")])
async def test_the_first_style_that_is_allowed(forge: Forge, styles: set[Any], sent: str):
    pull = await forge.open()
    forge.repository.styles = styles
    await forge.dialect.merge(pull.number, pull.head_sha)
    assert [body["do"] for body in forge.sent("POST", "/merge$")] == [sent]
    assert (await forge.dialect.read(pull.number)).state == "merged"


async def test_a_head_that_moved_is_not_merged(forge: Forge):
    pull = await forge.open()
    forge.push("gitmedic/one", "bob", **{RUN: b"edited"})
    with pytest.raises(Conflict, match="head out of date"):
        await forge.dialect.merge(pull.number, pull.head_sha)


async def test_a_merge_that_the_rules_refuse_is_for_a_person_there(forge: Forge):
    pull = await forge.open()
    forge.repository.protection["main"] = Protection(required_reviews=1)
    with pytest.raises(Refused, match="enough approvals") as refused:
        await forge.dialect.merge(pull.number, pull.head_sha)
    assert f"{forge.state.url}/ops/infra/pulls/{pull.number}" in refused.value.next_step
    forge.state.force_merge(forge.user("ada"), forge.pull(pull.number))
    assert (await forge.dialect.read(pull.number)).state == "merged"


async def test_a_forge_that_is_still_looking_is_asked_again(forge: Forge):
    pull = await forge.open()
    forge.state.settles_slowly = 3
    with pytest.raises(Unavailable, match="try again later"):
        await forge.dialect.merge(pull.number, pull.head_sha)
    forge.state.settles_slowly = 2
    await forge.dialect.merge(pull.number, pull.head_sha)


async def test_an_archived_repository_takes_nothing(forge: Forge):
    pull = await forge.open()
    forge.repository.archived = True
    for act in (forge.dialect.merge(pull.number, pull.head_sha), forge.dialect.write_comment(pull.number, "x", None)):
        with pytest.raises(Refused, match="423 repo is archived"):
            await act
    assert (await forge.dialect.rights()).missing == ("the repository is archived: nothing can be written to it",)


# --- branches and heads


async def test_a_push_that_the_forge_learns_of_late(forge: Forge):
    forge.state.learns_late = 2
    assert (await forge.open()).state == "open"
    forge.state.learns_late = 3
    with pytest.raises(Unavailable, match="does not know that branch yet"):
        await forge.open("gitmedic/two")


async def test_the_name_of_a_deleted_branch_is_kept(forge: Forge):
    pull = await forge.open()
    await forge.dialect.merge(pull.number, pull.head_sha)
    forge.state.delete_branch(forge.user("ada"), forge.repository, "gitmedic/one")
    read = await forge.dialect.read(pull.number)
    assert (read.head_ref, read.head_sha, read.same_repository) == ("gitmedic/one", pull.head_sha, True)
    assert await forge.dialect.find("gitmedic/one") == read


async def test_a_fork_with_the_same_branch_is_not_ours(forge: Forge):
    fork = forge.state.add_fork(forge.user("eve"), forge.repository)
    forge.state.push(forge.user("eve"), fork, "gitmedic/one", {RUN: b"run\n"})
    theirs = forge.state.open(forge.user("eve"), forge.repository, "gitmedic/one", "main", "Mine", head=fork)
    assert await forge.dialect.find("gitmedic/one") is None
    assert not (await forge.dialect.read(theirs.number)).same_repository
    pull = await forge.open()
    assert await forge.dialect.find("gitmedic/one") == pull


async def test_a_head_without_a_branch_is_not_of_the_repository(forge: Forge):
    base = gitwork.tip(forge.repository.folder, "refs/heads/main")
    head = gitwork.commit(forge.repository.folder, base, {RUN: b"x"}, "x", ("Eve", "eve@example.org"))
    theirs = forge.state.push_for(forge.user("eve"), forge.repository, "topic", head)
    assert not (await forge.dialect.read(theirs.number)).same_repository
    assert await forge.dialect.find("eve/topic") is None


async def test_the_open_one_of_a_branch_then_the_newest(forge: Forge):
    first = await forge.open()
    await forge.dialect.close(first.number)
    second = await forge.dialect.create(
        Opening(branch="gitmedic/one", head_sha=first.head_sha, base="main", title="Again", body="")
    )
    for number in range(60):
        forge.push(f"other/{number}", "bob", **{f"{number}.txt": b"x"})
        forge.state.open(forge.user("bob"), forge.repository, f"other/{number}", "main", "Other")
    found = await forge.dialect.find("gitmedic/one")
    assert found is not None
    assert found.number == second.number
    await forge.dialect.close(second.number)
    found = await forge.dialect.find("gitmedic/one")
    assert found is not None
    assert (found.number, found.state) == (second.number, "closed")
    forge.state.reopen(forge.user("ada"), forge.pull(first.number))
    found = await forge.dialect.find("gitmedic/one")
    assert found is not None
    assert (found.number, found.state) == (first.number, "open")
    assert len(await forge.dialect.changed(None)) == 61


async def test_names_of_branches_are_any_text(forge: Forge):
    name = "gitmedic/ä ö#?%2F/ß".replace(" ", "-").replace("?", "")
    pull = await forge.open(name)
    assert pull.head_ref == name
    assert await forge.dialect.find(name) == pull
    forge.push("release/ü", "ada")
    assert (await forge.dialect.posture("release/ü")).protected is False


async def test_a_branch_that_comes_back_opens_its_pull_request_again(forge: Forge):
    forge.state.resurrects = True
    pull = await forge.open()
    forge.state.delete_branch(forge.user("bob"), forge.repository, "gitmedic/one")
    closed = await forge.dialect.read(pull.number)
    assert (closed.state, closed.closed_by) == ("closed", forge.account("bob"))
    head = forge.push("gitmedic/one", "bob", **{RUN: b"another"})
    again = await forge.dialect.read(pull.number)
    assert (again.state, again.head_sha, again.closed_by) == ("open", head, None)


async def test_another_repository_took_the_name(forge: Forge):
    pull = await forge.open()
    elsewhere = forge.speaks(repository="7")
    with pytest.raises(Refused, match="and ours was 7") as refused:
        await elsewhere.read(pull.number)
    assert refused.value.reason == "moved"
    await elsewhere.aclose()


# --- who closed and who pushed


async def test_who_closed_it_lies_behind_pages_that_show_nothing(forge: Forge):
    pull = await forge.open()
    forge.state.ahead = timedelta(seconds=10)
    for _ in range(60):
        forge.state.comment_on_code(forge.user("eve"), forge.pull(pull.number))
    forge.state.close(forge.user("bob"), forge.pull(pull.number))
    assert (await forge.dialect.read(pull.number)).closed_by == forge.account("bob")


async def test_who_opened_it_need_not_have_pushed_it(forge: Forge):
    forge.push("topic", "bob")
    opened = forge.state.open(forge.user("ada"), forge.repository, "topic", "main", "Topic")
    assert (await forge.dialect.read(opened.number)).pushed_by is None
    forge.state.ahead = timedelta(seconds=10)
    head = forge.push("topic", "bob", **{RUN: b"edited"})
    read = await forge.dialect.read(opened.number)
    assert (read.head_sha, read.pushed_by) == (head, forge.account("bob"))
    again = forge.state.push(
        forge.user("ada"), forge.repository, "topic", {RUN: b"c"}, onto=opened.base_sha, force=True
    )
    read = await forge.dialect.read(opened.number)
    assert (read.head_sha, read.pushed_by) == (again, forge.account("ada"))


async def test_a_webhooks_address_that_the_forge_may_not_call(forge: Forge):
    with pytest.raises(Refused, match="403"):
        await forge.dialect.hooks()
    forge.repository.rights[forge.user("gitmedic").id] = "admin"
    forge.state.calls_outside = False
    with pytest.raises(Refused) as refused:
        await forge.dialect.make_hook("http://10.0.0.7:8090/hooks/gitea/ops", "secret")
    assert "ALLOWED_HOST_LIST" in refused.value.next_step
    assert "10.0.0.7" in refused.value.next_step
    forge.state.calls_outside = True
    made = await forge.dialect.make_hook("http://10.0.0.7:8090/hooks/gitea/ops", "secret")
    assert await forge.dialect.hooks() == [made]
    assert forge.repository.hooks[0].secret == "secret"


async def test_an_answer_without_end_is_cut_off():
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(25):
            yield b" " * (1 << 20)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=flood())

    settings = ForgeSettings.model_validate({
        "kind": "gitea", "url": "https://git.example/ops/infra", "token_file": "/nowhere", "timeout_seconds": 30,
    })  # fmt: skip
    dialect = Gitea(settings, "main", secret="t", transport=httpx.MockTransport(answer))
    with pytest.raises(Unavailable, match=f"larger than {MAX_BYTES >> 20} MB"):
        await dialect.read(1)
    await dialect.aclose()


async def test_labels_are_made_once_and_those_of_people_are_left(forge: Forge):
    pull = await forge.open()
    forge.repository.labels.update({f"label-{number:03}": forge.state.new_id() for number in range(70)})
    forge.repository.labels["Gitmedic"] = forge.state.new_id()
    forge.state.label(forge.user("ada"), forge.pull(pull.number), ["label-069", "gitmedic/risk-high"])
    marks = Marks(head_sha=pull.head_sha, state="success", text="two\nlines", labels=("gitmedic", "gitmedic/risk-low"))
    await forge.dialect.mark(pull.number, marks)
    assert sorted(forge.pull(pull.number).labels) == ["Gitmedic", "gitmedic/risk-low", "label-069"]
    writes = len(forge.server.faults.requests("POST|DELETE|PUT|PATCH"))
    await forge.dialect.mark(pull.number, marks)
    assert len(forge.server.faults.requests("POST|DELETE|PUT|PATCH")) == writes
    (status,) = forge.repository.statuses[pull.head_sha]
    assert (status.context, status.description) == ("gitmedic", "two lines")


# --- teams


async def test_a_team_that_only_reads_makes_the_list_of_assignees_worthless(forge: Forge):
    pull = await forge.open()
    forge.state.teams[forge.repository.id] = [Team(1, "Readers", "read", [forge.user("eve").id])]
    forge.state.review(forge.user("eve"), forge.pull(pull.number), "approve")
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert not review.may_write
    assert any("cannot be seen" in words for words in (await forge.dialect.rights()).missing)
    forge.state.teams[forge.repository.id] = [Team(1, "Writers", "write", [forge.user("eve").id])]
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert review.may_write
    assert (await forge.dialect.rights()).missing == ()
    # and an administrator is told nothing of rights by a team either
    forge.repository.rights[forge.user("gitmedic").id] = "admin"
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert review.may_write
