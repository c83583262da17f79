"""The double of a forge is one: real git over HTTP, merges by git, webhooks that arrive, faults that happen."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.forges import gitwork
from tests.forges.pulls import State
from tests.forges.schema import Spec
from tests.forges.server import ForgeServer, trusting
from tests.forges.state import Delivery, Denied, Event, Hook, Moved, Protection, Pull, Repository, Style, User

PATH = "runs/2026/11/21/one.yml"
DESCRIPTION = {
    "openapi": "3.0.3",
    "paths": {
        "/repos/{owner}/{repo}/pulls": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}},
                "responses": {"201": {"$ref": "#/components/responses/Made"}, "409": {"description": "exists"}},
            }
        }
    },
    "components": {
        "schemas": {
            "New": {
                "type": "object",
                "required": ["head"],
                "properties": {"head": {"type": "string"}, "body": {"type": "string", "nullable": True}},
            }
        },
        "responses": {
            "Made": {
                "content": {"application/json": {"schema": {"type": "object", "required": ["number"], "properties": {
                    "number": {"type": "integer"}, "merged_by": {"type": "string", "nullable": True}}}}}
            }
        },
    },
}  # fmt: skip


class Plain(State):
    """The least of a dialect."""

    def spec(self) -> Spec:
        return Spec.find("no-such-file.json", DESCRIPTION)

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/repos/{owner}/{repo}/pulls", self._open, methods=["POST"])]

    def _open(self, request: Request) -> Response:
        found = self.bearer(self.token_in(request))
        if found is None:
            raise Denied(401, "Bad credentials")
        repository = self.at(f"{request.path_params['owner']}/{request.path_params['repo']}")
        pull = self.open(found[0], repository, request.query_params.get("head", "topic"), "main", "Title")
        return JSONResponse({"number": pull.number, "merged_by": None}, 201)

    def deliveries(self, event: Event, hook: Hook) -> list[Delivery]:
        body = json.dumps({"event": event.name, "number": event.pull.number if event.pull else 0}).encode()
        return [Delivery(hook.url, {"content-type": "application/json"}, body)]


class Place:
    """One forge, its repository and its people."""

    def __init__(self, server: ForgeServer) -> None:
        self.server, self.state = server, server.state
        self.ada, self.bot = self.state.add_user("ada"), self.state.add_user("bot", is_bot=True)
        self.reader = self.state.add_user("reader")
        rights = {self.ada.id: "admin", self.bot.id: "write", self.reader.id: "read"}
        self.repository: Repository = self.state.add_repository(
            "org",
            "ops",
            rights=rights,
            files={"policy.yml": b"mode: observe\n"},  # type: ignore[arg-type]
        )

    def git(self, folder: Path, *arguments: str, user: str = "bot", check: bool = True) -> str:
        url = self.server.git_url(self.repository).replace("://", f"://{user}:token-of-{user}@")
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_TERMINAL_PROMPT": "0"}
        named = ["-c", "user.name=Bot", "-c", "user.email=bot@example.org"]
        done = subprocess.run(
            ["git", *named, *(url if one == "URL" else one for one in arguments)],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def topic(self, author: User, name: str = "topic", path: str = PATH) -> Pull:
        self.state.push(author, self.repository, name, {path: b"run: one\n"})
        return self.state.open(author, self.repository, name, "main", "Restart web")

    def tip(self) -> str:
        return gitwork.tip(self.repository.folder, "refs/heads/main") or ""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "forge").mkdir()
    with ForgeServer(Plain(tmp_path / "forge")) as server:
        yield Place(server)


def test_it_is_cloned_and_pushed_to_by_git(place: Place, tmp_path: Path) -> None:
    place.git(tmp_path, "clone", "-q", "URL", "work")
    work = tmp_path / "work"
    (work / "ein Wort ü.txt").write_text("x")
    place.git(work, "add", "-A")
    place.git(work, "commit", "-q", "-m", "Add")
    place.git(work, "push", "-q", "URL", "HEAD:refs/heads/topic")
    pull = place.state.open(place.bot, place.repository, "topic", "main", "Title")
    (work / "more").write_text("y")
    place.git(work, "add", "-A")
    place.git(work, "commit", "-q", "-m", "More")
    place.git(work, "push", "-q", "URL", "HEAD:refs/heads/topic", user="ada")
    assert [one.pusher for one in pull.versions] == [place.bot.id, place.ada.id]
    assert pull.head_sha == place.git(work, "rev-parse", "HEAD").strip() == pull.versions[-1].sha


def test_git_is_refused_without_token_or_right(place: Place, tmp_path: Path) -> None:
    place.git(tmp_path, "clone", "-q", "URL", "work", user="reader")
    work = tmp_path / "work"
    assert "403" in place.git(work, "push", "URL", "HEAD:refs/heads/x", user="reader", check=False)
    assert "Authentication failed" in place.git(work, "fetch", "URL", user="nobody", check=False)
    place.state.expire("token-of-bot")
    assert "Authentication failed" in place.git(work, "fetch", "URL", check=False)


def test_a_protected_branch_takes_no_push_and_no_rewriting(place: Place, tmp_path: Path) -> None:
    place.repository.protection["main"] = Protection(required_reviews=1)
    place.git(tmp_path, "clone", "-q", "URL", "work")
    work = tmp_path / "work"
    place.git(work, "commit", "-q", "--amend", "-m", "Other")
    assert "Protected branch" in place.git(work, "push", "-f", "URL", "HEAD:refs/heads/main", check=False)
    assert "Cannot force-push" in place.git(work, "push", "-f", "URL", "HEAD:refs/heads/main", user="ada", check=False)
    assert "GH006" in place.git(work, "push", "URL", "HEAD:refs/pull/1/head", check=False)
    with pytest.raises(Denied):
        place.state.push(place.bot, place.repository, "main", {"x": b""})


@pytest.mark.parametrize("style", ["merge", "squash", "rebase", "fast-forward"])
def test_every_style_of_merge_is_real_git(place: Place, style: Style) -> None:
    pull, before = place.topic(place.bot), place.tip()
    if style != "fast-forward":
        before = place.state.push(place.ada, place.repository, "main", {"other": b"x\n"})
    with pytest.raises(Denied, match="modified"):
        place.state.merge(place.ada, pull, style, head_guard="e" * 40)
    new = place.state.merge(place.ada, pull, style, head_guard=pull.head_sha)
    folder = place.repository.folder
    parents = gitwork.git(folder, "rev-parse", f"{new}^@").split()
    assert place.tip() == new and pull.state == "merged"
    assert parents == ([before, pull.head_sha] if style == "merge" else [before])
    assert gitwork.git(folder, "diff-tree", "-r", "--name-status", before, new) == f"A\t{PATH}"
    assert (new == pull.head_sha) is (style == "fast-forward")
    with pytest.raises(Denied, match="merged"):
        place.state.merge(place.ada, pull, style)


def test_protection_asks_for_a_review_that_a_push_takes_back(place: Place) -> None:
    place.repository.protection["main"] = Protection(required_reviews=1, admins_bypass=False, dismiss_stale=True)
    pull = place.topic(place.bot)
    for user in (place.bot, place.reader):
        with pytest.raises(Denied):
            place.state.review(user, pull, "approve") if user is place.bot else place.state.merge(user, pull)
    place.state.review(place.reader, pull, "approve")
    with pytest.raises(Denied, match="At least 1"):
        place.state.merge(place.ada, pull)
    place.state.review(place.ada, pull, "approve")
    place.state.push(place.bot, place.repository, "topic", {PATH: b"run: two\n"})
    with pytest.raises(Denied, match="At least 1"):
        place.state.merge(place.ada, pull)
    place.state.review(place.ada, pull, "approve")
    assert place.state.merge(place.bot, pull) == place.tip()


def test_a_fork_and_a_merge_by_hand(place: Place) -> None:
    fork = place.state.add_fork(place.reader, place.repository)
    sha = place.state.push(place.reader, fork, "topic", {PATH: b"mine\n"})
    pull = place.state.open(place.reader, place.repository, "topic", "main", "From a fork", head=fork)
    assert gitwork.tip(place.repository.folder, f"refs/pull/{pull.number}/head") == sha
    place.repository.styles.add("manual")
    with pytest.raises(Denied):
        place.state.merge(place.ada, pull, "manual", commit=sha)
    assert place.state.merge(place.ada, pull, "manual", commit=place.tip()) == place.tip() == pull.merge_sha


def test_closing_reopening_retargeting_and_moving(place: Place) -> None:
    pull = place.topic(place.bot)
    with pytest.raises(Denied, match="already exists"):
        place.state.open(place.bot, place.repository, "topic", "main", "Again")
    place.state.push(place.ada, place.repository, "next", {"x": b""})
    place.state.retarget(place.ada, pull, "next")
    place.state.close(place.ada, pull)
    place.state.reopen(place.bot, pull)
    place.state.delete_branch(place.bot, place.repository, "topic")
    assert (pull.base, pull.state, pull.closed_by) == ("next", "closed", place.bot.id)
    place.state.rename(place.repository, "infra")
    with pytest.raises(Moved):
        place.state.at("org/ops")
    old = place.server.git_url(place.repository).replace("infra", "ops")
    answer = httpx.get(f"{old}/info/refs?service=git-upload-pack", trust_env=False)
    assert (answer.status_code, "org/infra.git/info/refs" in answer.headers["location"]) == (301, True)


class Ear:
    """A webhook that listens."""

    def __init__(self) -> None:
        heard = self.heard = []

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    one = Ear()
    yield one
    one.close()


def test_webhooks_arrive_and_can_be_lost_doubled_and_reordered(place: Place, ear: Ear) -> None:
    url = f"http://127.0.0.1:{ear.server.server_port}/hooks"
    place.repository.hooks.append(Hook(1, url, "secret"))
    pull = place.topic(place.bot)
    courier = place.server.courier
    assert {one.status for one in courier.wait(2)} == {202}
    courier.lose()
    place.state.comment(place.ada, pull, "lost")
    courier.double()
    place.state.review(place.ada, pull, "approve")
    courier.wait(4)
    courier.hold()
    place.state.close(place.ada, pull)
    place.state.reopen(place.ada, pull)
    courier.release(reverse=True)
    courier.wait(6)
    names = ["branch", "opened", "reviewed", "reviewed", "reopened", "closed"]
    assert [one["event"] for one in ear.heard] == names
    assert len(courier.lost) == 1


def test_faults_happen_before_or_after_the_effect(place: Place) -> None:
    for name in ("a", "b", "c"):
        place.state.push(place.bot, place.repository, name, {name: b"x"})
    url, faults = f"{place.state.api_url}/repos/org/ops/pulls", place.server.faults
    with httpx.Client(trust_env=False, headers={"authorization": "token token-of-bot"}) as client:
        faults.add("POST", "/pulls", "500 before the effect")
        assert client.post(f"{url}?head=a").status_code == 500 and not place.state.pulls
        faults.add("POST", "/pulls", "502 after the effect")
        assert client.post(f"{url}?head=a").status_code == 502 and len(place.state.pulls) == 1
        faults.add("POST", "/pulls", "lost after the effect")
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(f"{url}?head=b")
        assert len(place.state.pulls) == 2
        faults.add("POST", "/pulls", "secondary limit", seconds=7)
        assert client.post(f"{url}?head=c").headers["retry-after"] == "7"
        assert client.post(f"{url}?head=b").status_code == 409
        assert client.post(f"{url}?head=c").status_code == 201
    assert [one.status for one in faults.requests("POST", "/pulls")] == [500, 502, 0, 403, 409, 201]
    assert any("no query parameter 'head'" in one for one in place.server.spec.violations)  # type: ignore[union-attr]


def test_what_the_description_does_not_know_is_a_violation() -> None:
    spec = Spec.find("no-such-file.json", DESCRIPTION)
    spec.check_request("POST", "/repos/a/b/pulls", {"head": "x", "body": None})
    spec.check_answer("POST", "/repos/a/b/pulls", 201, {"number": 1, "merged_by": None})
    assert spec.violations == []
    for body in ({"head": 1}, {"head": "x", "sha": "y"}, {}):
        spec.check_request("POST", "/repos/a/b/pulls", body)
    spec.check_request("POST", "/repos/a/b/c/pulls", {"head": "x"})
    spec.check_answer("POST", "/repos/a/b/pulls", 201, {"number": None})
    spec.check_answer("POST", "/repos/a/b/pulls", 204, None)
    assert len(spec.violations) == 6


def test_a_certificate_of_its_own(tmp_path: Path) -> None:
    with ForgeServer(Plain(tmp_path), tls=True) as server:
        place = Place(server)
        assert server.ca_file is not None
        refs = f"{server.git_url(place.repository)}/info/refs"
        with httpx.Client(trust_env=False, verify=trusting(server.ca_file)) as client:
            assert client.get(refs).status_code == 401
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
            client.get(refs)
