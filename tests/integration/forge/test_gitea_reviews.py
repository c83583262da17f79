"""Whose approval on Gitea or Forgejo stands: by content, by right, and by who somebody is now."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from receiver.adapters.forge import gitea_words as words
from receiver.adapters.forge.gitea_glob import matches
from receiver.errors import Refused
from tests.forges import gitwork
from tests.forges.gitea_spec import gitea_spec
from tests.forges.state import Hook, Protection
from tests.integration.forge.test_gitea import RUN, Forge, forge, hurry

pytestmark = pytest.mark.anyio
__all__ = ["forge", "hurry"]


async def test_every_page_of_reviews_is_read(forge: Forge):
    pull = await forge.open()
    at_forge = forge.pull(pull.number)
    for _ in range(60):
        # counted by the forge, and shown to nobody else
        forge.state.review(forge.user("eve"), at_forge, "comment").state = "pending"
    forge.state.review(forge.user("ada"), at_forge, "approve")
    for _ in range(60):
        forge.state.review(forge.user("eve"), at_forge, "comment", body="hm")
    forge.state.review(forge.user("bob"), at_forge, "reject", body="no")
    forge.state.most_per_page = 20
    found = (await forge.dialect.read(pull.number)).reviews
    assert [(one.by.login, one.verdict) for one in found] == [("ada", "approve"), ("bob", "reject")]


async def test_an_approval_is_stale_by_content_alone(forge: Forge):
    pull = await forge.open()
    forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve")
    base = forge.push("main", "ada", **{"other.txt": b"x"})
    rebased = forge.state.push(
        forge.user("bob"), forge.repository, "gitmedic/one", {RUN: b"run\n"}, onto=base, force=True
    )
    read = await forge.dialect.read(pull.number)
    (review,) = read.reviews
    assert (read.head_sha, review.stands, review.head_sha) == (rebased, True, pull.head_sha)
    forge.push("gitmedic/one", "bob", **{RUN: b"edited"})
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert (review.stands, review.head_sha) == (False, pull.head_sha)


async def test_the_forge_merges_on_stale_approvals_that_we_do_not_count(forge: Forge):
    forge.repository.protection["main"] = Protection(required_reviews=1, more={"ignore_stale": True})
    pull = await forge.open()
    forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve")
    head = forge.push("gitmedic/one", "bob", **{RUN: b"edited"})
    with pytest.raises(Refused, match="enough approvals"):
        await forge.dialect.merge(pull.number, head)
    forge.repository.protection["main"].more.clear()
    await forge.dialect.merge(pull.number, head)
    read = await forge.dialect.read(pull.number)
    assert (read.state, [one.stands for one in read.reviews]) == ("merged", [False])


async def test_a_dismissed_approval_does_not_stand(forge: Forge):
    pull = await forge.open()
    made = forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve")
    forge.state.dismiss(forge.user("bob"), forge.pull(pull.number), made.id)
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert not review.stands


@pytest.mark.parametrize("bot", ["write", "admin"])
async def test_who_lost_the_right_to_write_since(forge: Forge, bot: Any):
    forge.repository.rights[forge.user("gitmedic").id] = bot
    pull = await forge.open()
    for login in ("ada", "bob", "eve"):
        forge.state.review(forge.user(login), forge.pull(pull.number), "approve")
    said = {one.by.login: one.may_write for one in (await forge.dialect.read(pull.number)).reviews}
    assert said == {"ada": True, "bob": True, "eve": False}
    forge.repository.rights[forge.user("bob").id] = "read"
    del forge.repository.rights[forge.user("ada").id]
    said = {one.by.login: one.may_write for one in (await forge.dialect.read(pull.number)).reviews}
    assert said == {"ada": False, "bob": False, "eve": False}
    # official is what they might do then
    shown = [forge.state.review_json(forge.pull(pull.number), one) for one in forge.pull(pull.number).reviews]
    assert [one["official"] for one in shown] == [True, True, False]


async def test_a_name_that_belongs_to_somebody_else_now(forge: Forge):
    forge.repository.rights[forge.user("gitmedic").id] = "admin"
    pull, bob = await forge.open(), forge.user("bob")
    forge.state.review(bob, forge.pull(pull.number), "approve")
    bob.login = "robert"
    other = forge.state.add_user("bob")
    forge.repository.rights[other.id] = "write"
    (review,) = (await forge.dialect.read(pull.number)).reviews
    assert (review.by.id, review.may_write) == (str(bob.id), True)
    # as an answer from before the renaming would be
    del forge.repository.rights[bob.id]
    before = review.by.model_copy(update={"login": "bob"})
    assert before.id not in await forge.dialect._writers([before], "looking")


async def test_the_word_of_one_who_was_deleted_is_nobodys(forge: Forge):
    pull = await forge.open()
    forge.state.review(forge.user("bob"), forge.pull(pull.number), "approve")
    forge.state.delete_user("bob")
    assert (await forge.dialect.read(pull.number)).reviews == ()


async def test_a_pull_request_with_another_base_keeps_its_approvals(forge: Forge):
    forge.push("release", "ada", **{"r.txt": b"r"})
    pull = await forge.open()
    forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve")
    forge.state.retarget(forge.user("bob"), forge.pull(pull.number), "release")
    read = await forge.dialect.read(pull.number)
    assert (read.base_ref, [one.stands for one in read.reviews]) == ("release", [True])
    assert await forge.dialect.changed(None) == []
    await forge.dialect.merge(pull.number, pull.head_sha)
    merged = await forge.dialect.read(pull.number)
    assert await forge.dialect.behind(str(merged.merge_sha)) is None


def review(number: int, state: str, begun: int, sent: int, **more: Any) -> dict[str, Any]:
    start = datetime(2026, 11, 21, tzinfo=UTC)
    return {
        "id": number, "user": {"id": 5, "login": "ada"}, "state": state, "commit_id": "a" * 40, "stale": False,
        "dismissed": False, "submitted_at": (start + timedelta(minutes=begun)).isoformat(),
        "updated_at": (start + timedelta(minutes=sent)).isoformat(),
    } | more  # fmt: skip


def test_a_review_is_dated_by_when_it_was_sent_off():
    found = words.reviews_of([review(1, "REQUEST_CHANGES", 0, 30)])
    assert [one.at.minute for one in found] == [30]


def test_one_that_was_restored_is_not_newer_than_the_next():
    found = words.reviews_of([review(1, "APPROVED", 0, 40), review(2, "REQUEST_CHANGES", 10, 10)])
    assert [(one.verdict, one.at.minute) for one in found] == [("approve", 10), ("reject", 10)]


def test_a_forced_push_brings_its_second_head_alone():
    forced = {
        "type": "pull_push", "user": {"id": 5, "login": "ada"}, "created_at": "2026-11-21T01:00:00Z",
        "body": json.dumps({"is_force_push": True, "commit_ids": ["a" * 40, "b" * 40]}),
    }  # fmt: skip
    opened = datetime(2026, 11, 21, tzinfo=UTC)
    assert words.pusher_in([forced], "a" * 40, opened) is None
    by = words.pusher_in([forced], "b" * 40, opened)
    assert by is not None
    assert by.login == "ada"


def test_what_says_nothing_is_no_review():
    silent = [review(number, state, 0, 0) for number, state in enumerate(("COMMENT", "PENDING", "REQUEST_REVIEW"))]
    assert words.reviews_of([*silent, review(9, "APPROVED", 0, 0, user=None)]) == ()


@pytest.mark.parametrize(
    ("pattern", "branch", "is_meant"),
    [
        ("main", "main", True), ("Main", "main", True), ("main", "main2", False),
        ("ma*", "main", True), ("*", "release/1", False), ("**", "release/1", True), ("release/*", "release/1", True),
        ("release/?", "release/12", False), ("[a-m]ain", "main", True), ("[!m]ain", "main", False),
        ("{main,release/**}", "release/1/2", True), ("{main,release/**}", "trunk", False),
        ("{a{b,c},main}", "main", True), ("\\*", "*", True), ("\\*", "main", False), ("{main", "main", False),
        ("*a*a*a*a*a*a*a*a*b", "a" * 400, False), ("{a,b}" * 10, "a" * 10, False),
    ],
)  # fmt: skip
def test_which_branches_a_rule_means(pattern: str, branch: str, is_meant: bool):
    assert matches(pattern, branch) is is_meant


async def test_the_posture_that_an_administrator_sees(forge: Forge):
    main = Protection(required_reviews=2, dismiss_stale=True, admins_bypass=False)
    forge.repository.protection["main"] = main
    seen = await forge.dialect.posture("main")
    assert (seen.protected, seen.reviews, seen.force_push, seen.admins_bypass) == (True, 2, None, None)
    forge.repository.rights[forge.user("gitmedic").id] = "admin"
    seen = await forge.dialect.posture("main")
    assert (seen.reviews, seen.force_push, seen.admins_bypass, seen.stale_dismissed) == (2, False, False, True)
    assert (seen.manual_merge, seen.weaknesses) == (False, ())
    main.admins_bypass, main.force_push = True, True
    assert (await forge.dialect.posture("main")).weaknesses == (
        "its history can be rewritten", "administrators can merge past its rules",
    )  # fmt: skip
    main.admins_bypass, main.more = False, {"enable_bypass_allowlist": True, "bypass_allowlist_usernames": ["bob"]}
    assert (await forge.dialect.posture("main")).admins_bypass is True


async def test_the_posture_in_forgejos_words(forge: Forge):
    forge.state.is_forgejo = True
    forge.repository.rights[forge.user("gitmedic").id] = "admin"
    forge.repository.protection = {"main": Protection(required_reviews=1, admins_bypass=False)}
    seen = await forge.dialect.posture("main")
    assert (seen.protected, seen.force_push, seen.admins_bypass, seen.reviews) == (True, False, False, 1)
    forge.repository.protection["main"].admins_bypass = True
    assert (await forge.dialect.posture("main")).admins_bypass is True


async def test_a_branch_that_is_not_protected(forge: Forge):
    assert (await forge.dialect.posture("main")).weaknesses == (
        "it is not protected", "its history can be rewritten", "it asks for no review",
    )  # fmt: skip


async def test_what_a_token_lacks(forge: Forge):
    forge.user("gitmedic").tokens[forge.state.token_of("gitmedic")] = {"write:repository", "read:user"}
    assert (await forge.dialect.rights()).missing == ("the token lacks the scope write:issue (comments and labels)",)
    forge.user("gitmedic").tokens[forge.state.token_of("gitmedic")] |= {"write:issue"}
    rights = await forge.dialect.rights()
    assert (rights.missing, rights.may_push, rights.is_admin, rights.full_name) == ((), True, False, "ops/infra")
    forge.repository.rights[forge.user("gitmedic").id] = "read"
    assert [words.split(",")[0] for words in (await forge.dialect.rights()).missing] == [
        "the account may not write to the repository"
    ]


class Ear(BaseHTTPRequestHandler):
    heard: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def ear() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    heard: list[tuple[dict[str, str], bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Ear,), {"heard": heard}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    thread.join(10)
    server.server_close()


async def test_webhooks_carry_two_signatures_and_githubs_headers(forge: Forge, ear: Any):
    url, heard = ear
    forge.repository.hooks = [
        Hook(1, url, "secret", events=["pull_request", "push"]), Hook(2, url, "", events=["pull_request_review"]),
    ]  # fmt: skip
    pull = await forge.open()
    forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve")
    forge.server.courier.wait(5)
    told = [(headers["x-gitea-event"], headers["x-github-event-type"]) for headers, _ in heard]
    assert sorted(told) == [
        ("pull_request", "pull_request"), ("pull_request", "pull_request"),
        ("pull_request_approved", "pull_request_review_approved"),
        ("pull_request_approved", "pull_request_review_approved"), ("push", "push"),
    ]  # fmt: skip
    for headers, body in heard:
        signed = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        assert headers["x-gitea-signature"] in (signed, "")
        assert headers["x-hub-signature-256"] == f"sha256={headers['x-gitea-signature']}"
        assert json.loads(body)["sender"]["login"] in ("gitmedic", "ada")
    assert {headers["x-gitea-signature"] == "" for headers, _ in heard} == {True, False}


def test_both_descriptions_are_held_against_a_merge():
    for spec in (gitea_spec(), gitea_spec(reduced=True)):
        good = {"Do": "merge", "do": "merge", "head_commit_id": "a" * 40}
        spec.check_request("POST", "/repos/ops/infra/pulls/1/merge", good)
        assert spec.violations == []
        spec.check_request("POST", "/repos/ops/infra/pulls/1/merge", {"Do": "merge"})
        spec.check_request("POST", "/repos/ops/infra/pulls/1/merge", {**good, "sha": "a" * 40})
        assert any("'do' is a required property" in one for one in spec.violations)
        assert any("'sha' was unexpected" in one for one in spec.violations)


async def test_a_word_on_a_head_that_never_was_is_stale(forge: Forge):
    pull = await forge.open()
    made = forge.state.review(forge.user("ada"), forge.pull(pull.number), "approve", commit_sha="f" * 40)
    assert made.stale
    (read,) = (await forge.dialect.read(pull.number)).reviews
    assert (read.stands, read.head_sha) == (False, "f" * 40)
    assert gitwork.tip(forge.repository.folder, "f" * 40) is None
