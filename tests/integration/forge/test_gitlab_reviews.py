"""Whose word on which head GitLab's approvals are, though they name none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest

from receiver.adapters.forge.gitlab import GitLab
from receiver.adapters.forge.gitlab_reading import is_bot_name
from receiver.domain.forge import PullRequest
from receiver.errors import Refused
from tests.contract.places import Elsewhere, elsewhere, settings_of
from tests.forges.gitlab import GitLabDouble
from tests.forges.state import Pull

pytestmark = pytest.mark.anyio


class Place:
    """The double, and what the adapter says of it."""

    def __init__(self, far: Elsewhere) -> None:
        self.far = far
        assert isinstance(far.state, GitLabDouble)
        self.gitlab: GitLabDouble = far.state

    async def open(self) -> Pull:
        number, _ = await self.far.open()
        return self.far.pull(number)

    async def read(self, pull: Pull) -> PullRequest:
        return await self.far.forge.dialect.read(pull.number)

    async def standing(self, pull: Pull) -> list[tuple[str, str, str]]:
        """Who said what on which head, as far as it stands."""
        found = (await self.read(pull)).reviews
        return [(one.by.login, one.verdict, one.head_sha) for one in found if one.stands]

    async def ready(self, pull: Pull) -> None:
        """GitLab's check is through."""
        for _ in range(3):
            read = await self.read(pull)
        assert not read.settling


@pytest.fixture
async def place(request: pytest.FixtureRequest, ops: object, database: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(await elsewhere("gitlab")(request, stack))  # type: ignore[arg-type]


# --- the head


async def test_after_a_push_an_old_approval_is_shown_and_does_not_stand(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    old = pull.head_sha
    assert await place.standing(pull) == [("ada", "approve", old)]
    await place.far.pushes("bob", pull.number)
    (review,) = (await place.read(pull)).reviews
    assert (review.stands, review.head_sha) == (False, old)
    await place.far.approves("eve", pull.number)
    assert await place.standing(pull) == [("eve", "approve", pull.head_sha)]


async def test_an_old_approval_does_not_come_back_with_its_head(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    old = pull.head_sha
    await place.far.pushes("bob", pull.number)
    place.gitlab.push(place.far.user("bob"), place.far.repository, pull.branch, sha=old, force=True)
    assert pull.head_sha == old
    assert await place.standing(pull) == []


async def test_an_approval_of_the_very_moment_of_the_push_is_none(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    pull.reviews[0].at = pull.versions[-1].at
    assert await place.standing(pull) == []
    pull.reviews[0].at += timedelta(milliseconds=1)
    assert await place.standing(pull) == [("ada", "approve", pull.head_sha)]


async def test_an_approval_without_a_date_is_none(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    place.gitlab.dates_approvals = False
    (review,) = (await place.read(pull)).reviews
    assert (review.stands, review.head_sha, review.by.login) == (False, "", "ada")


async def test_another_base_asks_for_new_approvals(place: Place) -> None:
    pull = await place.open()
    place.gitlab.push(place.far.user("ada"), place.far.repository, "other", {"x": b"x"})
    await place.far.approves("ada", pull.number)
    place.gitlab.retarget(place.far.user("bob"), pull, "other")
    place.gitlab.retarget(place.far.user("bob"), pull, "main")
    assert await place.standing(pull) == []


async def test_until_the_new_version_is_made_nothing_stands(place: Place) -> None:
    pull = await place.open()
    await place.ready(pull)
    await place.far.approves("ada", pull.number)
    place.gitlab.hidden_versions = 1
    await place.far.pushes("bob", pull.number)
    await place.far.approves("eve", pull.number)
    place.gitlab.checked(pull)
    pull_now = await place.read(pull)
    assert (pull_now.settling, [one.stands for one in pull_now.reviews]) == (True, [False, False])
    place.gitlab.hidden_versions = 0
    assert await place.standing(pull) == [("eve", "approve", pull.head_sha)]


@pytest.mark.parametrize("after", ["approvals", "reviewers", "versions"])
async def test_a_push_while_it_is_read(place: Place, after: str) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    old = pull.head_sha

    class Between(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if request.url.path.endswith(f"/{after}") and pull.head_sha == old:
                await answer.aread()
                await place.far.pushes("bob", pull.number)
                await place.far.approves("eve", pull.number)
            return answer

    settings = settings_of(place.gitlab, place.far.repository, place.far.user("gitmedic-bot"))
    dialect = GitLab(settings, "main", secret=place.gitlab.token_of("gitmedic-bot"), transport=Between())
    read = await dialect.read(pull.number)
    await dialect.aclose()
    assert read.head_sha == pull.head_sha != old
    assert [one.by.login for one in read.reviews if one.stands] == []


# --- what is still being worked out


async def test_while_approvals_are_taken_back_it_is_not_settled(place: Place) -> None:
    place.gitlab.approval_settings = {"reset_approvals_on_push": True}
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    await place.far.pushes("bob", pull.number)
    await place.far.approves("eve", pull.number)
    reads = [await place.read(pull) for _ in range(4)]
    assert [one.settling for one in reads] == [True] * 4
    assert [one.by.login for one in reads[-1].reviews] == ["ada", "eve"]
    place.gitlab.sync(pull)
    read = await place.read(pull)
    assert (read.settling, [one.by.login for one in read.reviews]) == (False, ["eve"])


async def test_what_hides_it_passes_by_being_looked_at(place: Place) -> None:
    pull = await place.open()
    assert [(await place.read(pull)).settling for _ in range(3)] == [True, True, False]


async def test_a_merged_one_is_settled_and_a_merge_under_way_is_not(place: Place) -> None:
    pull = await place.open()
    place.gitlab.locked.add(pull.id)
    for _ in range(3):
        read = await place.read(pull)
        assert (read.state, read.settling, read.merge_sha) == ("open", True, None)
    place.gitlab.locked.clear()
    await place.far.merges("ada", pull.number)
    read = await place.read(pull)
    assert (read.state, read.settling) == ("merged", False)


async def test_what_a_push_has_merged_is_settled_though_it_is_never_checked_again(place: Place) -> None:
    pull = await place.open()
    place.far.repository.protection.clear()
    place.gitlab.push(place.far.user("ada"), place.far.repository, "main", sha=pull.head_sha)
    read = await place.read(pull)
    assert (read.state, read.settling, read.merged_by) == ("merged", False, place.far.account("ada"))


# --- who


async def test_whoever_asks_for_changes_is_heard_until_they_approve(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    await place.far.objects("ada", pull.number)
    assert await place.standing(pull) == [("ada", "reject", pull.head_sha)]
    await place.far.pushes("bob", pull.number)
    assert await place.standing(pull) == [("ada", "reject", pull.head_sha)], "also of what was pushed since"
    await place.far.approves("ada", pull.number)
    assert await place.standing(pull) == [("ada", "approve", pull.head_sha)]


async def test_an_older_gitlab_says_nothing_of_reviewers(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("ada", pull.number)
    place.far.faults.add("GET", "/reviewers$", "redirect", location="/x")
    with pytest.raises(Refused):
        await place.read(pull)
    answered = place.gitlab.reviewers_json
    place.gitlab.reviewers_json = _missing  # type: ignore[method-assign]
    assert await place.standing(pull) == [("ada", "approve", pull.head_sha)]
    place.gitlab.reviewers_json = answered  # type: ignore[method-assign]


def _missing(pull: Pull) -> list[dict[str, object]]:
    from tests.forges.state import Denied

    raise Denied(404, "Not Found", "missing")


async def test_our_own_account_can_approve_on_the_free_tier_and_is_said_to_have(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("gitmedic-bot", pull.number)
    ((login, _, _),) = await place.standing(pull)
    read = await place.read(pull)
    assert (login, read.reviews[0].by) == ("gitmedic-bot", read.author)


async def test_accounts_without_a_person_are_bots(place: Place) -> None:
    pull = await place.open()
    repository = place.far.repository
    for login, is_bot in (("project_42_bot_0af3", False), ("service", True), ("zoe", False)):
        user = place.gitlab.add_user(login, is_bot=is_bot)
        repository.rights[user.id] = "write"
        await place.far.approves(login, pull.number)
    found = {one.by.login: one.by.is_bot for one in (await place.read(pull)).reviews}
    assert found == {"project_42_bot_0af3": True, "service": True, "zoe": False}
    place.far.faults.log.clear()
    await place.read(pull)
    assert place.far.faults.requests("GET", "/users/") == [], "what never changes is asked once"


@pytest.mark.parametrize(
    ("login", "is_bot"),
    [("project_1_bot", True), ("project_12_bot3", True), ("group_7_bot_00ff", True), ("service_account_group_1", True),
     ("project_x_bot", False), ("bot", False), ("a_project_1_bot", False), ("project_1_bottom", False)],
)  # fmt: skip
def test_names_that_gitlab_gives_to_tokens(login: str, is_bot: bool) -> None:
    assert is_bot_name(login) is is_bot


async def test_somebody_who_is_gone_may_write_nothing(place: Place) -> None:
    pull = await place.open()
    await place.far.approves("bob", pull.number)
    place.gitlab.delete_user("bob")
    (review,) = (await place.read(pull)).reviews
    assert (review.by.login, review.may_write) == ("bob", False)


@pytest.mark.parametrize(("right", "may"), [("", False), ("read", False), ("write", True), ("admin", True)])
async def test_who_may_write_is_asked_each_time(place: Place, right: str, may: bool) -> None:
    pull = await place.open()
    await place.far.approves("bob", pull.number)
    place.far.repository.rights[place.far.user("bob").id] = right  # type: ignore[assignment]
    assert [one.may_write for one in (await place.read(pull)).reviews] == [may]


# --- who pushed


async def test_who_pushed_is_said_of_a_persons_merge_request(place: Place) -> None:
    ada, bob, repository = place.far.user("ada"), place.far.user("bob"), place.far.repository
    place.gitlab.push(ada, repository, "theirs", {"x": b"x"})
    pull = place.gitlab.open(ada, repository, "theirs", "main", "Mine")
    assert (await place.read(pull)).pushed_by == place.far.account("ada")
    head = place.gitlab.push(bob, repository, "theirs", {"x": b"y"})
    place.gitlab.push(ada, repository, "elsewhere", sha=head)
    assert (await place.read(pull)).pushed_by == place.far.account("bob")


@pytest.mark.parametrize("change", [lambda g: g.pushes.clear(), lambda g: setattr(g, "most_per_page", 1)])
async def test_a_push_that_is_not_among_the_newest(place: Place, change: Callable[[GitLabDouble], None]) -> None:
    ada, repository = place.far.user("ada"), place.far.repository
    place.gitlab.push(ada, repository, "theirs", {"x": b"x"})
    pull = place.gitlab.open(ada, repository, "theirs", "main", "Mine")
    place.gitlab.push(ada, repository, "other", {"z": b"z"})
    change(place.gitlab)
    assert (await place.read(pull)).pushed_by is None


async def test_who_pushed_ours_is_for_the_webhooks_to_say(place: Place) -> None:
    pull = await place.open()
    await place.far.pushes("bob", pull.number)
    assert (await place.read(pull)).pushed_by is None
    assert place.far.faults.requests("GET", "/events") == []
