"""What every forge elsewhere promises beside: lost answers, people's own acts on it, the one comment, the marks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.forge import Marks, Opening
from receiver.errors import Conflict, GitmedicError, Refused, Retry, Unavailable
from tests.contract.places import FAR, RUN, Elsewhere, another_run
from tests.forges.faults import What

pytestmark = pytest.mark.anyio
#: of the ports Forge, Hosting and ReviewDesk

CREATE = r"/(pulls|merge_requests)$"


@pytest.fixture(params=FAR, ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest, ops: object, database: str) -> AsyncIterator[Elsewhere]:
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


# --- exactly one


@pytest.mark.parametrize("what", ["lost after the effect", "502 after the effect"])
async def test_an_answer_that_was_lost_makes_no_second_one(place: Elsewhere, what: What):
    place.faults.add("POST", CREATE, what)
    number, head = await place.open()
    assert await place.open() == (number, head)
    assert len(place.state.pulls_of(place.repository)) == 1
    assert len(place.faults.requests("POST", CREATE)) == 1


@pytest.mark.parametrize("what", ["lost before the effect", "500 before the effect"])
async def test_what_was_never_made_is_made_when_it_is_asked_for_again(place: Elsewhere, what: What):
    place.faults.add("POST", CREATE, what)
    with pytest.raises(Unavailable):
        await place.open()
    await place.open()
    assert len(place.state.pulls_of(place.repository)) == 1


async def test_a_limit_sends_nothing_before_its_time(place: Elsewhere):
    number, _ = await place.open()
    place.faults.add("GET", rf"/{number}$", "too many requests", seconds=30)
    with pytest.raises(Retry) as caught:
        await place.forge.read(number)
    assert 25 < caught.value.after_seconds <= 30
    before = len(place.faults.log)
    with pytest.raises(Retry):
        await place.forge.read(number)
    assert len(place.faults.log) == before


async def test_somebody_elses_of_the_same_branch_is_a_conflict(place: Elsewhere):
    head = await place.propose()
    place.state.open(place.user("bob"), place.repository, f"gitmedic/{RUN}", "main", "Mine")
    with pytest.raises(Conflict, match="bob"):
        await place.forge.open(
            Opening(branch=f"gitmedic/{RUN}", head_sha=head, base="main", title="Restart web", body="Why")
        )


async def test_one_of_a_fork_with_the_same_branch_is_not_ours(place: Elsewhere):
    eve = place.user("eve")
    fork = place.state.add_fork(eve, place.repository)
    place.state.push(eve, fork, f"gitmedic/{RUN}", {"evil.yml": b"evil"})
    theirs = place.state.open(eve, place.repository, f"gitmedic/{RUN}", "main", "Evil", head=fork)
    number, _ = await place.open()
    assert number != theirs.number
    pull = await place.forge.read(theirs.number)
    assert (pull.same_repository, pull.author) == (False, place.account("eve"))


async def test_a_closed_one_stays_closed(place: Elsewhere):
    number, _ = await place.open()
    await place.closes("ada", number)
    with pytest.raises(Conflict):
        await place.open()
    assert len(place.state.pulls_of(place.repository)) == 1


# --- reviews


async def test_the_latest_word_comes_last(place: Elsewhere):
    number, _ = await place.open()
    await place.approves("ada", number)
    place.state.ahead += timedelta(seconds=5)
    await place.objects("ada", number)
    place.state.review(place.user("bob"), place.pull(number), "comment", body="hm")
    reviews = (await place.forge.read(number)).reviews
    words = [(one.by, one.verdict) for one in reviews]
    # a forge that shows what is so now, and not what was said, shows the last word alone
    assert words[-1] == (place.account("ada"), "reject")
    assert words[:-1] in ([(place.account("ada"), "approve")], [])


async def test_a_review_that_was_dismissed_does_not_stand(place: Elsewhere):
    number, _ = await place.open()
    await place.approves("bob", number)
    (review,) = place.pull(number).reviews
    place.state.dismiss(place.user("ada"), place.pull(number), review.id)
    assert [one.stands for one in (await place.forge.read(number)).reviews] in ([False], [])


async def test_who_may_only_read_is_said_to_be_so(place: Elsewhere):
    number, _ = await place.open()
    await place.approves("eve", number)
    await place.approves("bob", number)
    written = {one.by.login: one.may_write for one in (await place.forge.read(number)).reviews}
    assert written == {"eve": False, "bob": True}
    place.repository.rights[place.user("bob").id] = "read"
    assert not any(one.may_write for one in (await place.forge.read(number)).reviews)


async def test_a_word_on_our_own_page_counts_beside_those_there(place: Elsewhere):
    number, head = await place.open()
    await place.approves("bob", number)
    pull = await place.forge.approve(number, head, "ada", "session")
    assert {(one.by.forge, one.by.login) for one in pull.reviews} == {(place.state.name, "bob"), ("local", "ada")}


async def test_the_reviews_of_many_pages(place: Elsewhere):
    number, _ = await place.open()
    setattr(place.state, "most_per_page", 2)  # noqa: B010 - of every double
    for person in ("ada", "bob", "ada", "bob", "ada"):
        await place.approves(person, number)
    people = {one.by.login for one in (await place.forge.read(number)).reviews}
    assert people == {"ada", "bob"}


# --- the merge


async def test_a_merge_takes_no_other_head(place: Elsewhere):
    number, head = await place.open()
    await place.pushes("bob", number)
    with pytest.raises(Conflict):
        await place.forge.dialect.merge(number, head)
    assert (await place.forge.read(number)).state == "open"


async def test_a_merge_that_the_forge_does_not_let_us_make(place: Elsewhere):
    number, head = await place.open()
    await place.protect()
    with pytest.raises(Refused, match="merging") as caught:
        await place.forge.approve_and_merge(number, head, "ada", "session")
    assert (await place.forge.read(number)).url in caught.value.next_step
    pull = await place.forge.read(number)
    assert (pull.state, [one.by.login for one in pull.reviews]) == ("open", ["ada"])


async def test_a_merge_whose_answer_was_lost_is_one_merge(place: Elsewhere):
    number, head = await place.open()
    place.faults.add("PUT|POST", r"/merge$", "lost after the effect")
    with pytest.raises(Retry):
        await place.forge.approve_and_merge(number, head, "ada", "session")
    pull = await place.forge.approve_and_merge(number, head, "ada", "session")
    assert (pull.state, pull.merge_sha) == ("merged", await place.tip())
    assert len(place.faults.requests("PUT|POST", r"/merge$")) == 1


async def test_another_base_is_seen(place: Elsewhere):
    number, _ = await place.open()
    place.state.push(place.user("ada"), place.repository, "other", {"x": b"x"})
    place.state.retarget(place.user("bob"), place.pull(number), "other")
    await place.merges("bob", number)
    pull = await place.forge.read(number)
    assert (pull.state, pull.base_ref) == ("merged", "other")


async def test_behind_a_commit_that_came_by_a_push_is_nobody(place: Elsewhere):
    await place.open()
    place.repository.protection.clear()
    pushed = place.state.push(place.user("ada"), place.repository, "main", {"x.yml": b"x"})
    assert await place.forge.behind(pushed) is None


# --- the one comment


async def lost_row(place: Elsewhere, number: int) -> None:
    await place.forget()


async def persons_comment(place: Elsewhere, number: int) -> None:
    place.state.comment(place.user("eve"), place.pull(number), "one")
    await place.forget()


async def deleted(place: Elsewhere, number: int) -> None:
    (comment,) = place.pull(number).comments
    place.state.edit_comment(place.user("ada"), place.repository, comment.id, None)


async def nothing(place: Elsewhere, number: int) -> None:
    """In between."""


@pytest.mark.parametrize("between", [nothing, lost_row, persons_comment, deleted])
async def test_there_is_one_comment_of_ours(place: Elsewhere, between: Callable[[Elsewhere, int], object]):
    number, _ = await place.open()
    await place.forge.comment(number, "one")
    await between(place, number)  # type: ignore[misc]
    await place.forge.comment(number, "two")
    await place.forge.comment(number, "two")
    assert [text for login, text in place.comments(number) if login == "gitmedic-bot"] == ["two"]
    assert [text for login, text in place.comments(number) if login == "eve"] in ([], ["one"])


async def test_a_comment_of_somebody_else_is_not_taken_for_ours(place: Elsewhere):
    number, _ = await place.open()
    place.state.comment(place.user("ada"), place.pull(number), "one")
    await place.forge.comment(number, "one")
    await place.forget()
    await place.forge.comment(number, "two")
    assert place.comments(number) == [("ada", "one"), ("gitmedic-bot", "two")]


async def test_a_comment_whose_answer_was_lost_is_not_written_twice(place: Elsewhere):
    number, _ = await place.open()
    place.faults.add("POST", r"/(comments|notes)$", "lost after the effect")
    with pytest.raises(Retry):
        await place.forge.comment(number, "one")
    await place.forge.comment(number, "one")
    assert place.comments(number) == [("gitmedic-bot", "one")]


async def test_a_long_text_is_cut(place: Elsewhere):
    number, _ = await place.open()
    await place.forge.comment(number, "x" * 2_000_000)
    assert len(place.comments(number)[0][1]) <= place.forge.dialect.most_text


# --- marks


async def test_marks_are_ours_alone(place: Elsewhere):
    number, head = await place.open()
    place.state.label(place.user("ada"), place.pull(number), ["urgent", "gitmedic/risk-high"])
    marks = Marks(
        head_sha=head, state="success", text="rehearsed " * 30, labels=("gitmedic", "gitmedic/risk-low"),
        target_url="https://gitmedic.example/1",
    )  # fmt: skip
    await place.forge.mark(number, marks)
    assert sorted(place.pull(number).labels) == ["gitmedic", "gitmedic/risk-low", "urgent"]
    before = len(place.faults.requests("POST|PUT|PATCH|DELETE"))
    await place.forge.mark(number, marks)
    assert len(place.faults.requests("POST|PUT|PATCH|DELETE")) <= before + 1
    (status, *_) = place.repository.statuses[head]
    assert (status.state, status.context, status.target_url) == ("success", "gitmedic", "https://gitmedic.example/1")
    await place.forge.mark(number, marks.model_copy(update={"state": "failure", "labels": ()}))
    assert place.pull(number).labels == ["urgent"]
    assert place.repository.statuses[head][-1].state in ("failure", "failed")


# --- the repository


async def test_the_base_without_protection(place: Elsewhere):
    place.repository.protection.clear()
    posture = await place.forge.posture()
    assert posture.protected is False
    assert "it is not protected" in posture.weaknesses


async def test_what_changed_is_newest_first(place: Elsewhere):
    numbers = []
    for one in range(3):
        place.state.ahead += timedelta(minutes=1)
        numbers.append((await place.open(another_run(one)))[0])
    since = place.state.now()
    place.state.ahead += timedelta(minutes=1)
    await place.approves("ada", numbers[0])
    place.state.ahead += timedelta(minutes=1)
    await place.closes("ada", numbers[1])
    assert await place.forge.changed(since + timedelta(seconds=1)) == [numbers[1], numbers[0]]
    assert await place.forge.changed(None) == [numbers[2], numbers[0]]


async def test_an_archived_repository(place: Elsewhere):
    number, _ = await place.open()
    place.repository.archived = True
    with pytest.raises(Refused):
        await place.forge.comment(number, "x")
    assert any("archived" in words for words in (await place.forge.dialect.rights()).missing)


async def test_a_repository_of_another_name(place: Elsewhere):
    number, _ = await place.open()
    place.state.rename(place.repository, "renamed")
    with pytest.raises(Refused) as caught:
        await place.forge.read(number)
    assert caught.value.reason == "moved"
    with pytest.raises(Refused):
        await place.forge.comment(number, "x")


async def test_another_repository_at_the_same_path(place: Elsewhere):
    number, _ = await place.open()
    place.state.rename(place.repository, "renamed")
    bot = place.user("gitmedic-bot")
    other = place.state.add_repository("ops", "infra", rights={bot.id: "write"}, files={"README.md": b"x"})
    place.state.push(bot, other, "topic", {"y": b"y"})
    assert place.state.open(bot, other, "topic", "main", "Other").number == number
    with pytest.raises(Refused, match=str(other.id)):
        await place.forge.read(number)


async def test_a_token_that_expired_is_in_no_word(place: Elsewhere):
    number, _ = await place.open()
    token = place.state.token_of("gitmedic-bot")
    place.state.expire(token)
    with pytest.raises(Refused) as caught:
        await place.forge.read(number)
    assert caught.value.reason == "token"
    assert token not in f"{caught.value.message} {caught.value.next_step}"


async def test_rights(place: Elsewhere):
    rights = await place.forge.dialect.rights()
    assert rights.account == place.bot
    assert (rights.repository, rights.full_name) == (str(place.repository.id), "ops/infra")
    assert (rights.default_branch, rights.archived, rights.private) == ("main", False, True)
    assert (rights.may_push, rights.is_admin, rights.missing) == (True, False, ())
    place.repository.rights[place.user("gitmedic-bot").id] = "read"
    rights = await place.forge.dialect.rights()
    assert not rights.may_push
    assert rights.missing != ()


async def test_hooks(place: Elsewhere):
    dialect = place.forge.dialect
    with pytest.raises(GitmedicError):
        await dialect.make_hook("https://gitmedic.example/hooks/forge", "secret-of-the-hook")
    place.repository.rights[place.user("gitmedic-bot").id] = "admin"
    assert await dialect.hooks() == []
    made = await dialect.make_hook("https://gitmedic.example/hooks/forge", "secret-of-the-hook")
    assert (made.url, made.active) == ("https://gitmedic.example/hooks/forge", True)
    assert await dialect.hooks() == [made]
    assert place.repository.hooks[0].secret == "secret-of-the-hook"


@pytest.mark.parametrize("ahead", [timedelta(minutes=-10), timedelta(minutes=10)])
async def test_a_forge_whose_clock_is_wrong_says_when_it_was_merged_by_ours(place: Elsewhere, ahead: timedelta):
    """What was approved before this instance began to live needs a fresh approval (rule S2): clocks must agree."""
    number, _ = await place.open()
    place.state.ahead = ahead
    await place.merges("ada", number)
    merged_at = (await place.forge.read(number)).merged_at
    assert merged_at is not None and abs(merged_at - datetime.now(UTC)) < timedelta(seconds=10)
