"""The dialect of GitHub against its double, where GitHub is unlike the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.forge.github import GitHub
from receiver.adapters.forge.remote import Dialect
from receiver.domain.forge import Account, Marks, Opening, PullRequest
from receiver.errors import Conflict, Refused, Retry, Unavailable
from tests.contract.places import PEOPLE, settings_of
from tests.forges import gitwork
from tests.forges.github import GitHubDouble
from tests.forges.github_spec import github_spec
from tests.forges.server import ForgeServer
from tests.forges.state import Denied, Protection, Pull, User

pytestmark = pytest.mark.anyio
BRANCH = "gitmedic/one"
RUN_FILE = "runs/2026/11/26/one.yml"


class Place:
    """The double, its people, and our dialect."""

    def __init__(self, server: ForgeServer, forge: GitHubDouble) -> None:
        self.server, self.forge, self.faults = server, forge, server.faults
        self.people = {login: forge.add_user(login) for login in PEOPLE}
        rights = {self.people[login].id: right for login, right in PEOPLE.items()}
        self.repository = forge.add_repository("ops", "infra", rights=rights, files={"README.md": b"ops\n"})
        self.bot = self.people["gitmedic-bot"]
        self.dialect = self.speaks()

    def speaks(self, **more: Any) -> GitHub:
        return GitHub(
            settings_of(self.forge, self.repository, self.bot, **more), "main", secret="token-of-gitmedic-bot"
        )

    def pushes(self, person: str = "gitmedic-bot", branch: str = BRANCH) -> str:
        """A new head from the base's tip, whatever was there."""
        content = {RUN_FILE: self.dialect.name.encode() + str(self.forge.new_id()).encode()}
        return self.forge.push(self.people[person], self.repository, branch, content, onto=self.tip(), force=True)

    def tip(self) -> str:
        return gitwork.tip(self.repository.folder, "refs/heads/main") or ""

    async def opens(self, **more: Any) -> tuple[PullRequest, Pull]:
        head = self.pushes()
        pull = await self.dialect.create(
            Opening(branch=BRANCH, head_sha=head, base="main", title="Restart web", body="Why", **more)
        )
        return pull, self.forge.pull(self.repository, pull.number)

    def account(self, person: str) -> Account:
        return Account(forge="github", id=str(self.people[person].id), login=person)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForgeServer]:
    with ForgeServer(GitHubDouble(tmp_path / "forge")) as server:
        yield server
        assert server.spec is not None
        assert server.spec.violations == []


@pytest.fixture
async def place(server: ForgeServer) -> AsyncIterator[Place]:
    assert isinstance(server.state, GitHubDouble)
    place = Place(server, server.state)
    yield place
    await place.dialect.aclose()


async def test_it_is_a_dialect(place: Place):
    dialect: Dialect = place.dialect
    assert (dialect.name, dialect.most_text) == ("github", 60_000)
    assert await dialect.account() == place.account("gitmedic-bot")
    assert await dialect.login() == ("x-access-token", "token-of-gitmedic-bot")


async def test_the_test_merge_of_an_open_one_is_no_merge(place: Place):
    pull, theirs = await place.opens()
    assert place.forge.simple_json(theirs)["merge_commit_sha"] is not None
    assert (await place.dialect.read(pull.number)).merge_sha is None
    place.forge.close(place.people["ada"], theirs)
    assert place.forge.simple_json(theirs)["merge_commit_sha"] is not None
    closed = await place.dialect.read(pull.number)
    assert (closed.state, closed.merge_sha, closed.closed_by) == ("closed", None, place.account("ada"))


async def test_a_second_one_of_a_branch(place: Place):
    pull, _ = await place.opens()
    with pytest.raises(Conflict, match="already exists"):
        await place.opens()
    found = await place.dialect.find(BRANCH)
    assert found == await place.dialect.read(pull.number)


async def test_open_ones_are_found_first_then_the_newest(place: Place):
    first, theirs = await place.opens()
    place.forge.close(place.people["ada"], theirs)
    second, theirs = await place.opens()
    place.forge.close(place.people["ada"], theirs)
    assert [one and one.number for one in [await place.dialect.find(BRANCH)]] == [second.number]
    place.forge.reopen(place.people["ada"], place.forge.pull(place.repository, first.number))
    assert [one and one.number for one in [await place.dialect.find(BRANCH)]] == [first.number]
    assert await place.dialect.find("gitmedic/other") is None


@pytest.mark.parametrize(("branch", "base"), [("gone", "main"), (BRANCH, "gone")])
async def test_a_branch_that_is_not_there(place: Place, branch: str, base: str):
    head = place.pushes()
    with pytest.raises(Refused, match="422") as caught:
        await place.dialect.create(Opening(branch=branch, head_sha=head, base=base, title="T", body=""))
    assert not isinstance(caught.value, Conflict)


async def test_labels_at_the_opening(place: Place):
    _, theirs = await place.opens(labels=("gitmedic",))
    assert theirs.labels == ["gitmedic"]


# --- reviews


async def test_an_old_approval_stays_until_it_is_dismissed(place: Place):
    pull, theirs = await place.opens()
    place.forge.review(place.people["ada"], theirs, "approve")
    old = theirs.head_sha
    place.pushes("bob")
    (review,) = (await place.dialect.read(pull.number)).reviews
    assert (review.head_sha, review.stands) == (old, True)
    place.repository.protection["main"] = Protection(dismiss_stale=True)
    place.forge.review(place.people["ada"], theirs, "approve")
    place.forge.push(place.people["bob"], place.repository, BRANCH, {RUN_FILE: b"y"})
    assert [one.stands for one in (await place.dialect.read(pull.number)).reviews] == [False, False]


async def test_a_review_whose_commit_is_gone_is_of_no_head(place: Place):
    pull, theirs = await place.opens()
    place.forge.review(place.people["ada"], theirs, "approve").commit_sha = ""
    assert [one.head_sha for one in (await place.dialect.read(pull.number)).reviews] == [""]


async def test_a_reviewer_who_was_deleted_says_nothing(place: Place):
    pull, theirs = await place.opens()
    place.forge.review(place.people["ada"], theirs, "approve")
    place.forge.delete_user("ada")
    assert (await place.dialect.read(pull.number)).reviews == ()


async def test_a_login_that_somebody_else_has_now_gives_no_right(place: Place):
    pull, theirs = await place.opens()
    place.forge.review(place.people["bob"], theirs, "approve")
    place.people["bob"].login = "bobby"
    other = place.forge.add_user("bob", token="other")
    place.repository.rights[other.id] = "admin"
    place.repository.rights[place.people["bob"].id] = "read"
    assert [one.may_write for one in (await place.dialect.read(pull.number)).reviews] == [False]


async def test_the_permission_is_of_the_account_that_approved(place: Place, monkeypatch: pytest.MonkeyPatch):
    pull, theirs = await place.opens()
    place.forge.review(place.people["bob"], theirs, "approve")
    # between the two answers the login went to an account that may write
    other = User(99, "bob")
    place.repository.rights[99] = "admin"
    monkeypatch.setattr(place.forge, "user", lambda login: other)
    assert [one.may_write for one in (await place.dialect.read(pull.number)).reviews] == [False]


async def test_a_bots_approval_is_a_bots(place: Place):
    pull, theirs = await place.opens()
    robot = place.forge.add_user("robot[bot]", is_bot=True)
    place.repository.rights[robot.id] = "write"
    place.forge.review(robot, theirs, "approve")
    (review,) = (await place.dialect.read(pull.number)).reviews
    assert (review.by.is_bot, review.may_write) == (True, True)


# --- people's own pull requests


async def persons(place: Place, person: str = "bob") -> Pull:
    place.pushes(person)
    return place.forge.open(place.people[person], place.repository, BRANCH, "main", "Mine")


async def test_who_pushed_a_persons_head(place: Place):
    theirs = await persons(place)
    pull = await place.dialect.read(theirs.number)
    assert (pull.author, pull.pushed_by) == (place.account("bob"), place.account("bob"))
    place.forge.push(place.people["ada"], place.repository, BRANCH, {RUN_FILE: b"y"})
    assert (await place.dialect.read(theirs.number)).pushed_by == place.account("ada")
    place.faults.log.clear()
    place.forge.close(place.people["bob"], theirs)
    ours, _ = await place.opens()
    assert ours.pushed_by is None
    assert place.faults.requests(path="/activity") == []


async def test_the_newest_push_of_this_head_counts(place: Place):
    theirs = await persons(place)
    first = theirs.head_sha
    place.forge.push(place.people["ada"], place.repository, BRANCH, {RUN_FILE: b"y"})
    place.forge.push(place.people["ada"], place.repository, BRANCH, sha=first, force=True)
    pull = await place.dialect.read(theirs.number)
    assert (pull.head_sha, pull.pushed_by) == (first, place.account("ada"))


async def test_an_activity_that_is_not_told_is_unknown(place: Place):
    theirs = await persons(place)
    place.forge.activity.clear()
    assert (await place.dialect.read(theirs.number)).pushed_by is None


async def test_a_head_whose_push_is_not_listed_is_nobodys(place: Place):
    theirs = await persons(place)
    place.forge.push(place.people["ada"], place.repository, BRANCH, {RUN_FILE: b"y"})
    del place.forge.activity[-1]
    assert [one.actor for one in place.forge.activity] == [place.people["bob"].id]
    assert (await place.dialect.read(theirs.number)).pushed_by is None


async def test_one_of_another_repository_of_the_same_owner_is_not_found(place: Place):
    fork = place.forge.add_fork(place.people["eve"], place.repository, "copy")
    fork.owner = "ops"
    place.forge.push(place.people["eve"], fork, BRANCH, {"x": b"x"})
    theirs = place.forge.open(place.people["eve"], place.repository, BRANCH, "main", "Mine", head=fork)
    assert not (await place.dialect.read(theirs.number)).same_repository
    assert await place.dialect.find(BRANCH) is None


async def test_an_activity_that_must_be_waited_for_is_not_unknown(place: Place):
    theirs = await persons(place)
    place.faults.add("GET", "/activity", "secondary limit", seconds=20)
    with pytest.raises(Retry):
        await place.dialect.read(theirs.number)


async def test_a_fork_that_was_deleted(place: Place):
    eve = place.people["eve"]
    fork = place.forge.add_fork(eve, place.repository)
    place.forge.push(eve, fork, "topic", {"x": b"x"})
    theirs = place.forge.open(eve, place.repository, "topic", "main", "Mine", head=fork)
    theirs.head_repository = None
    pull = await place.dialect.read(theirs.number)
    assert (pull.same_repository, pull.pushed_by) == (False, None)
    assert await place.dialect.find("topic") is None


async def test_an_author_who_was_deleted(place: Place):
    theirs = await persons(place)
    place.forge.delete_user("bob")
    pull = await place.dialect.read(theirs.number)
    assert (pull.author.login, pull.pushed_by) == ("ghost", None)


# --- the merge


@pytest.mark.parametrize("styles", [{"squash"}, {"rebase"}, {"squash", "rebase"}])
async def test_the_first_style_that_is_allowed(place: Place, styles: set[Any]):
    pull, theirs = await place.opens()
    place.repository.styles = styles
    await place.dialect.merge(pull.number, pull.head_sha)
    assert theirs.style == ("squash" if "squash" in styles else "rebase")
    merged = await place.dialect.read(pull.number)
    assert (merged.merge_sha, merged.merged_by) == (place.tip(), place.account("gitmedic-bot"))


async def test_no_style_is_allowed(place: Place):
    pull, _ = await place.opens()
    place.repository.styles = set()
    with pytest.raises(Refused, match="not allowed") as caught:
        await place.dialect.merge(pull.number, pull.head_sha)
    assert pull.url in caught.value.next_step
    assert len(place.faults.requests("PUT")) == 3


async def test_one_that_conflicts_and_one_that_is_not_worked_out_yet(place: Place):
    pull, _ = await place.opens()
    place.forge.settles_slowly = True
    with pytest.raises(Unavailable, match="still working"):
        await place.dialect.merge(pull.number, pull.head_sha)
    place.forge.settles_slowly = False
    place.forge.push(place.people["ada"], place.repository, "main", {RUN_FILE: b"other"})
    with pytest.raises(Refused, match="not mergeable"):
        await place.dialect.merge(pull.number, pull.head_sha)
    assert len(place.faults.requests("PUT")) == 2


async def test_a_base_that_moved_meanwhile_is_tried_again_later(place: Place, monkeypatch: pytest.MonkeyPatch):
    pull, _ = await place.opens()

    def moved(*_: Any, **__: Any) -> str:
        raise Denied(405, "Base branch was modified. Review and try the merge again.")

    monkeypatch.setattr(place.forge, "merge", moved)
    with pytest.raises(Unavailable, match="Base branch"):
        await place.dialect.merge(pull.number, pull.head_sha)
    assert len(place.faults.requests("PUT")) == 1


async def test_behind_a_commit_that_is_not_merged_into_the_base_is_nobody(place: Place):
    pull, theirs = await place.opens()
    assert await place.dialect.behind(pull.head_sha) is None
    place.forge.push(place.people["ada"], place.repository, "other", {"o": b"o"})
    place.forge.retarget(place.people["ada"], theirs, "other")
    merge = place.forge.merge(place.people["ada"], theirs, "merge")
    assert await place.dialect.behind(merge) is None


async def test_behind_each_commit_that_it_brought(place: Place):
    pull, theirs = await place.opens()
    place.forge.push(place.people["ada"], place.repository, BRANCH, {"more": b"x"})
    place.forge.merge(place.people["ada"], theirs, "rebase")
    tip = place.tip()
    below = gitwork.git(place.repository.folder, "rev-parse", f"{tip}^")
    assert await place.dialect.behind(tip) == await place.dialect.behind(below) == pull.number


async def test_a_limit_at_the_merge_is_no_refusal(place: Place):
    pull, _ = await place.opens()
    place.faults.add("PUT", "/merge", "secondary limit", seconds=30)
    with pytest.raises(Retry) as caught:
        await place.dialect.merge(pull.number, pull.head_sha)
    assert caught.value.after_seconds > 25


async def test_a_head_that_reaches_the_base_by_a_push_counts_as_merged_there(place: Place):
    """`merged` alone is no approval: GitHub says it of this as well."""
    pull, theirs = await place.opens()
    place.forge.push(place.people["ada"], place.repository, "main", sha=theirs.head_sha)
    merged = await place.dialect.read(pull.number)
    assert (merged.state, merged.merged_by, merged.reviews) == ("merged", place.account("ada"), ())


async def test_the_base_that_was_deleted_is_seen(place: Place):
    place.forge.push(place.people["ada"], place.repository, "under", {"u": b"u"})
    below = place.forge.open(place.people["ada"], place.repository, "under", "main", "Below")
    pull, theirs = await place.opens()
    place.forge.retarget(place.people["ada"], theirs, "under")
    assert (await place.dialect.read(pull.number)).base_ref == "under"
    place.forge.merge(place.people["ada"], below, "merge")
    place.forge.delete_branch(place.people["ada"], place.repository, "under")
    assert (await place.dialect.read(pull.number)).base_ref == "main"


# --- marks, changes, posture


async def test_the_same_status_is_not_sent_again(place: Place):
    pull, theirs = await place.opens()
    marks = Marks(head_sha=pull.head_sha, state="pending", text="waits\nfor   a person", labels=("Gitmedic",))
    await place.dialect.mark(pull.number, marks)
    writes = len(place.faults.requests("POST"))
    await place.dialect.mark(pull.number, marks.model_copy(update={"labels": ("gitmedic",)}))
    assert len(place.faults.requests("POST")) == writes
    await place.dialect.mark(pull.number, marks.model_copy(update={"text": "x" * 200}))
    first, second = place.repository.statuses[pull.head_sha]
    assert (first.description, len(second.description)) == ("waits for a person", 140)
    assert theirs.labels == ["Gitmedic"]


async def test_what_did_not_change_costs_nothing(place: Place):
    pull, _ = await place.opens()
    since = place.forge.now() - timedelta(minutes=1)
    for _ in range(3):
        assert await place.dialect.changed(since) == [pull.number]
    assert [one.status for one in place.faults.requests("GET", "sort=updated")] == [200, 304, 304]


async def test_changes_of_many_pages(place: Place):
    place.forge.most_per_page = 2
    for number in range(5):
        place.pushes(branch=f"gitmedic/{number}")
        place.forge.open(place.bot, place.repository, f"gitmedic/{number}", "main", "T")
    assert await place.dialect.changed(None) == [5, 4, 3, 2, 1]
    assert len(await place.dialect.changed(place.forge.now() - timedelta(hours=1))) == 5
    assert await place.dialect.changed(place.forge.now() + timedelta(hours=1)) == []


async def test_an_older_protection_is_read_by_administrators_alone(place: Place):
    rule = Protection(required_reviews=2, dismiss_stale=True, admins_bypass=True, more={"classic": True})
    place.repository.protection["main"] = rule
    unseen = await place.dialect.posture("main")
    assert (unseen.protected, unseen.reviews, unseen.force_push, unseen.admins_bypass) == (True, None, None, None)
    assert unseen.weaknesses == ()
    place.repository.rights[place.bot.id] = "admin"
    seen = await place.dialect.posture("main")
    assert (seen.reviews, seen.force_push, seen.admins_bypass, seen.stale_dismissed) == (2, False, True, True)
    rule.admins_bypass, rule.force_push, rule.required_reviews = False, True, 0
    seen = await place.dialect.posture("main")
    assert (seen.reviews, seen.force_push, seen.admins_bypass) == (0, True, False)


async def test_a_ruleset_is_read_by_all(place: Place):
    place.repository.protection["main"] = Protection(required_reviews=1, dismiss_stale=True, admins_bypass=False)
    seen = await place.dialect.posture("main")
    assert (seen.protected, seen.reviews, seen.force_push, seen.stale_dismissed) == (True, 1, False, True)
    assert seen.admins_bypass is None
    place.repository.protection["main"].force_push = True
    assert (await place.dialect.posture("main")).force_push is None, "an older protection might forbid it"
    place.repository.rights[place.bot.id] = "admin"
    assert (await place.dialect.posture("main")).force_push is True


async def test_a_limit_is_not_a_protection_that_cannot_be_seen(place: Place):
    place.faults.add("GET", "/protection", "rate limited", seconds=20)
    with pytest.raises(Retry):
        await place.dialect.posture("main")


async def test_scopes_of_a_classic_token(place: Place):
    place.bot.tokens["token-of-gitmedic-bot"] = {"repo", "workflow"}
    rights = await place.dialect.rights()
    assert (rights.scopes, rights.missing) == (("repo", "workflow"), ())
    place.repository.private = False
    place.bot.tokens["token-of-gitmedic-bot"] = {"public_repo"}
    assert (await place.dialect.rights()).missing == ()


# --- webhooks, and the description without the vendor's file


async def test_a_webhook_says_what_the_forge_says(place: Place):
    place.repository.rights[place.bot.id] = "admin"
    hook = await place.dialect.make_hook(f"{place.forge.url}/hooks/forge", "secret")
    pull, theirs = await place.opens()
    place.forge.review(place.people["ada"], theirs, "approve")
    place.forge.comment(place.people["ada"], theirs, "not listened to")
    sent = place.server.courier.wait(4)
    kinds = [(one.delivery.headers["x-github-event"], json.loads(one.delivery.body)) for one in sent]
    assert [(kind, said.get("action")) for kind, said in kinds] == [
        ("ping", None), ("push", None), ("pull_request", "opened"), ("pull_request_review", "submitted")
    ]  # fmt: skip
    assert kinds[0][1]["hook_id"] == int(hook.id)
    assert (kinds[1][1]["ref"], kinds[1][1]["after"]) == (f"refs/heads/{BRANCH}", pull.head_sha)
    assert kinds[1][1]["sender"]["id"] == place.bot.id
    assert {said["repository"]["id"] for _, said in kinds} == {place.repository.id}
    assert all(one.delivery.headers["x-hub-signature-256"].startswith("sha256=") for one in sent)
    assert len({one.delivery.headers["x-github-delivery"] for one in sent}) == 4


@pytest.mark.parametrize("reduced", [True, False])
async def test_the_description_sees_a_request_that_is_none(tmp_path: Path, reduced: bool):
    spec = github_spec(reduced=reduced)
    wrong = (
        ("POST", "/repos/o/r/pulls", {"title": "x", "head": "a"}),
        ("POST", "/repos/o/r/pulls", {"title": "x", "head": "a", "base": "b", "labels": ["x"]}),
        ("PUT", "/repos/o/r/pulls/1/merge", {"head_commit_id": "x"}),
        ("PUT", "/repos/o/r/pulls/1/merge", {"merge_method": "ours"}),
        ("POST", "/repos/o/r/statuses/abc", {"state": "running"}),
        ("POST", "/repos/o/r/hooks", {"config": {"url": "x", "content_type": "json", "secret": "x"}}),
        ("GET", "/repos/o/r/pulls?poster=me", None),
        ("GET", "/repos/o/r/merge_requests", None),
    )
    for number, (method, path, body) in enumerate(wrong, 1):
        spec.check_request(method, path, body)
        assert len(spec.violations) == number, (method, path, body)
    spec.check_answer("GET", "/repos/o/r/pulls/1", 200, {"number": 1})
    assert len(spec.violations) > len(wrong)


async def test_all_of_it_holds_without_the_vendors_file(tmp_path: Path):
    forge = GitHubDouble(tmp_path / "forge")
    forge._spec = github_spec(reduced=True)
    with ForgeServer(forge) as server:
        place = Place(server, forge)
        place.repository.rights[place.bot.id] = "admin"
        pull, theirs = await place.opens(labels=("gitmedic",))
        forge.review(place.people["ada"], theirs, "approve")
        await place.dialect.write_comment(pull.number, "one", await place.dialect.write_comment(pull.number, "x", None))
        await place.dialect.mark(pull.number, Marks(head_sha=pull.head_sha, state="success", text="x"))
        await place.dialect.posture("main")
        await place.dialect.make_hook("https://h.example", "s")
        await place.dialect.merge(pull.number, pull.head_sha)
        assert await place.dialect.behind(place.tip()) == pull.number
        assert (await place.dialect.rights()).is_admin
        assert len(await place.dialect.hooks()) == 1
        theirs = forge.open(place.people["bob"], place.repository, place_branch(place), "main", "Mine")
        forge.close(place.people["ada"], theirs)
        assert (await place.dialect.read(theirs.number)).pushed_by == place.account("bob")
        await place.dialect.aclose()
        assert server.spec is not None
        assert server.spec.violations == []


def place_branch(place: Place) -> str:
    place.forge.push(place.people["bob"], place.repository, "mine", {"m": b"m"})
    return "mine"
