"""GitLab's own ways: merges that are not ready, styles, statuses, commands in text, protection, webhooks."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from receiver.adapters.forge import gitlab as adapter
from receiver.adapters.forge.gitlab import GitLab
from receiver.domain.forge import Marks, Opening
from receiver.errors import Conflict, Refused, Unavailable
from tests.contract.places import RUN, Elsewhere, elsewhere
from tests.forges import gitwork
from tests.forges.gitlab import GitLabDouble
from tests.forges.state import Protection

pytestmark = pytest.mark.anyio
WHSEC = "whsec_" + base64.b64encode(b"k" * 32).decode()
OBEYED = "Why\n/approve\n  \n/close\n> /label ~gitmedic\n/label ~gitmedic/approved\n```\n/close\n```\n"


class Place:
    """The double and its adapter."""

    def __init__(self, far: Elsewhere) -> None:
        self.far, self.repository = far, far.repository
        assert isinstance(far.state, GitLabDouble) and isinstance(far.forge.dialect, GitLab)
        self.gitlab: GitLabDouble = far.state
        self.dialect: GitLab = far.forge.dialect

    def puts(self) -> int:
        return len(self.far.faults.requests("PUT", "/merge$"))


@pytest.fixture
async def place(request: pytest.FixtureRequest, ops: object, database: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(await elsewhere("gitlab")(request, stack))  # type: ignore[arg-type]


# --- the merge


@pytest.mark.parametrize("option", ["never", "default_off", "default_on", "always"])
@pytest.mark.parametrize("method", ["merge", "ff"])
async def test_each_style_of_a_project(place: Place, method: str, option: str) -> None:
    place.gitlab.merge_method, place.gitlab.squash_option = method, option
    number, head = await place.far.open()
    await place.dialect.merge(number, head)
    pull, tip = await place.dialect.read(number), await place.far.tip()
    assert (pull.state, pull.head_sha, pull.merge_sha) == ("merged", head, tip)
    shown = place.gitlab.request_json(place.far.pull(number))
    squashes = option in ("always", "default_on")
    assert (shown["merge_commit_sha"] is not None) == (method == "merge")
    assert (shown["squash_commit_sha"] is not None) == squashes
    assert (tip == head) == (method == "ff" and not squashes)
    for commit in {tip, head} - ({head} if squashes else set()):
        assert await place.dialect.behind(commit) == number


async def test_our_branch_goes_with_the_merge_and_a_persons_stays(place: Place) -> None:
    number, head = await place.far.open()
    await place.dialect.merge(number, head)
    assert gitwork.tip(place.repository.folder, f"refs/heads/gitmedic/{RUN}") is None
    ada = place.far.user("ada")
    head = place.gitlab.push(ada, place.repository, "theirs", {"x": b"x"})
    theirs = place.gitlab.open(ada, place.repository, "theirs", "main", "Mine")
    await place.dialect.merge(theirs.number, head)
    assert gitwork.tip(place.repository.folder, "refs/heads/theirs") == head


async def test_one_that_was_made_a_moment_ago_is_waited_for_and_merged_once(place: Place) -> None:
    number, head = await place.far.open()
    await place.dialect.merge(number, head)
    assert place.puts() == 1
    await place.dialect.merge(number, head)
    assert place.puts() == 1, "it is merged"


async def test_one_that_is_not_ready_in_time_is_for_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_READY", ())
    number, head = await place.far.open()
    with pytest.raises(Unavailable, match="not ready"):
        await place.dialect.merge(number, head)
    assert place.puts() == 1
    assert place.far.pull(number).state == "open"


async def test_a_head_that_moved_is_a_conflict_before_and_at_the_merge(place: Place) -> None:
    number, head = await place.far.open()
    with pytest.raises(Conflict):
        await place.dialect.merge(number, "f" * 40)
    assert place.puts() == 0
    await place.dialect.merge(number, head)
    with pytest.raises(Conflict):
        await place.dialect.merge(number, "f" * 40)


async def test_the_guard_is_sent(place: Place) -> None:
    number, head = await place.far.open()
    await place.dialect.merge(number, head)
    (sent,) = place.far.faults.requests("PUT", "/merge$")
    assert f'"sha":"{head}"'.encode() in sent.body.replace(b": ", b":")


async def test_a_draft_and_a_branch_behind_its_base_are_for_a_person(place: Place) -> None:
    number, head = await place.far.open()
    place.far.pull(number).draft = True
    with pytest.raises(Refused, match="draft_status") as caught:
        await place.dialect.merge(number, head)
    assert f"/merge_requests/{number}" in caught.value.next_step
    place.far.pull(number).draft = False
    place.gitlab.merge_method = "ff"
    place.gitlab.push(place.far.user("ada"), place.repository, "main", {"x": b"x"})
    with pytest.raises(Refused, match="need_rebase"):
        await place.dialect.merge(number, head)


async def test_an_account_that_may_not_merge_is_told_apart_from_a_bad_token(place: Place) -> None:
    number, head = await place.far.open()
    place.repository.rights[place.far.user("gitmedic-bot").id] = "read"
    with pytest.raises(Refused, match="may not merge") as caught:
        await place.dialect.merge(number, head)
    assert caught.value.reason == "not_merged"


# --- text and marks


async def test_no_line_of_ours_is_a_command(place: Place) -> None:
    head = await place.far.propose()
    opening = Opening(branch=f"gitmedic/{RUN}", head_sha=head, base="main", title="Restart web", body=OBEYED)
    pull = await place.far.forge.open(opening)
    await place.far.forge.comment(pull.number, OBEYED)
    await place.far.forge.comment(pull.number, OBEYED + "again")
    read = await place.dialect.read(pull.number)
    assert (read.state, read.reviews, place.far.pull(pull.number).labels) == ("open", (), [])
    place.gitlab.obey(place.far.user("ada"), place.far.pull(pull.number), OBEYED)
    assert place.far.pull(pull.number).state == "closed", "without care they would have been obeyed"


async def test_what_gitlab_writes_in_our_name_is_no_comment_of_ours(place: Place) -> None:
    number, _ = await place.far.open()
    bot = place.far.user("gitmedic-bot")
    place.gitlab.system_notes.add(place.gitlab.comment(bot, place.far.pull(number), "added 1 commit").id)
    assert await place.dialect.comments_of_ours(number) == []
    await place.far.forge.comment(number, "one")
    assert len(await place.dialect.comments_of_ours(number)) == 1


async def test_the_same_status_again_is_harmless(place: Place) -> None:
    number, head = await place.far.open()
    marks = Marks(head_sha=head, state="pending", text="waits")
    for _ in range(3):
        await place.dialect.mark(number, marks)
    for state in ("success", "success", "error", "pending"):
        await place.dialect.mark(number, marks.model_copy(update={"state": state}))
    states = [one.state for one in place.repository.statuses[head]]
    assert states == ["pending", "success", "success", "failed", "pending"]


async def test_another_refusal_of_a_status_is_not_harmless(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number, head = await place.far.open()
    monkeypatch.setattr("tests.forges.gitlab_routes._ALREADY", "pipeline is locked")
    await place.dialect.mark(number, Marks(head_sha=head, state="pending", text="waits"))
    with pytest.raises(Refused, match="pipeline is locked"):
        await place.dialect.mark(number, Marks(head_sha=head, state="pending", text="waits"))


# --- the project


async def test_posture_of_the_free_tier(place: Place) -> None:
    place.repository.protection["main"] = Protection(required_reviews=0, admins_bypass=False)
    posture = await place.dialect.posture("main")
    assert (posture.protected, posture.force_push, posture.reviews, posture.stale_dismissed) == (
        True,
        False,
        None,
        None,
    )
    assert (posture.admins_bypass, posture.weaknesses) == (False, ())


async def test_posture_where_approvals_can_be_asked_for(place: Place) -> None:
    place.gitlab.approval_settings = {"reset_approvals_on_push": True}
    place.repository.protection["main"] = Protection(required_reviews=2, force_push=True, admins_bypass=True)
    posture = await place.dialect.posture("main")
    assert (posture.reviews, posture.stale_dismissed, posture.force_push) == (2, True, True)
    assert posture.admins_bypass, "Maintainers may push past merge requests"


async def test_posture_that_this_role_does_not_see(place: Place) -> None:
    place.repository.protection["main"] = Protection(force_push=True)
    place.gitlab.shows_protection = False
    posture = await place.dialect.posture("main")
    assert (posture.protected, posture.force_push, posture.admins_bypass) == (True, None, None)
    place.repository.protection.clear()
    assert (await place.dialect.posture("main")).protected is False
    assert (await place.dialect.posture("no-such-branch")).protected is None


async def test_what_did_not_change_is_not_sent_again(place: Place) -> None:
    number, _ = await place.far.open()
    since = place.gitlab.now()
    for moment in (since, since + timedelta(seconds=1)):
        assert await place.dialect.changed(moment) == []
    listed = place.far.faults.requests("GET", "/merge_requests.*order_by=updated_at")
    assert [one.status for one in listed] == [200, 304]
    await place.far.approves("ada", number)
    assert await place.dialect.changed(since) == [number]


async def test_many_changes_are_all_told_up_to_the_moment(place: Place) -> None:
    place.gitlab.most_per_page = 2
    ada, moments = place.far.user("ada"), []
    for one in range(5):
        moments.append(place.gitlab.now())
        place.gitlab.push(ada, place.repository, f"b{one}", {"x": f"{one}".encode()})
        place.gitlab.open(ada, place.repository, f"b{one}", "main", "Mine")
    assert await place.dialect.changed(None) == [5, 4, 3, 2, 1]
    for gone, moment in enumerate(moments):
        assert await place.dialect.changed(moment) == list(range(5, gone, -1))


async def test_what_a_token_lacks(place: Place) -> None:
    bot = place.far.user("gitmedic-bot")
    for scopes in bot.tokens.values():
        scopes -= {"api", "write_repository"}
        scopes.add("read_api")
    place.repository.rights[bot.id] = "read"
    rights = await place.dialect.rights()
    assert (rights.scopes, rights.may_push) == (("read_api",), False)
    assert [words.split(" ")[0] for words in rights.missing] == ["scope", "role"]


async def test_a_webhook_that_signs(place: Place) -> None:
    place.repository.rights[place.far.user("gitmedic-bot").id] = "admin"
    made = await place.dialect.make_hook("https://gitmedic.example/hooks/gitlab/1", WHSEC)
    assert [(one.id, one.secret) for one in place.repository.hooks] == [(int(made.id), WHSEC)]
    assert set(place.repository.hooks[0].events) == {"push_events", "merge_requests_events"}


async def test_an_older_gitlab_makes_no_unsigned_webhook(place: Place) -> None:
    place.repository.rights[place.far.user("gitmedic-bot").id] = "admin"
    place.gitlab.signs_webhooks = False
    with pytest.raises(Refused, match="does not sign") as caught:
        await place.dialect.make_hook("https://gitmedic.example/hooks/gitlab/1", WHSEC)
    assert WHSEC not in f"{caught.value.message} {caught.value.next_step}"
    assert place.repository.hooks == []


async def test_the_token_is_the_password_of_git(place: Place) -> None:
    assert await place.dialect.login() == ("oauth2", place.gitlab.token_of("gitmedic-bot"))


async def test_a_project_that_took_our_path_is_written_to_by_nobody(place: Place) -> None:
    await place.far.propose()
    place.gitlab.rename(place.repository, "renamed")
    bot = place.far.user("gitmedic-bot")
    other = place.gitlab.add_repository("ops", "infra", rights={bot.id: "write"}, files={"README.md": b"x"})
    place.gitlab.push(bot, other, f"gitmedic/{RUN}", {"y": b"y"})
    opening = Opening(branch=f"gitmedic/{RUN}", head_sha="f" * 40, base="main", title="t", body="b")
    with pytest.raises(Refused, match=str(other.id)):
        await place.dialect.create(opening)
    assert place.gitlab.pulls_of(other) == []
