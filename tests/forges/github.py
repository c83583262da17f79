"""GitHub, as far as gitmedic speaks to it: its REST API with its words and statuses, and its webhooks.

Decides as GitHub does: an old approval stands until somebody or the protection dismisses it, a head that reaches the
base by a push counts as merged, and open pull requests follow when the branch under them is merged and deleted.
Protection is that of a ruleset, which all may read, or with `more={"classic": True}` the older one for admins alone.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from tests.forges import gitwork
from tests.forges.github_json import Shapes, moment
from tests.forges.github_routes import routes
from tests.forges.github_spec import github_spec
from tests.forges.pulls import State
from tests.forges.schema import Spec
from tests.forges.state import Delivery, Denied, Event, Hook, Moved, Pull, Repository, User, act

_EVENTS = {
    "opened": "pull_request", "closed": "pull_request", "merged": "pull_request", "reopened": "pull_request",
    "edited": "pull_request", "pushed": "pull_request", "labelled": "pull_request",
    "reviewed": "pull_request_review", "dismissed": "pull_request_review",
    "commented": "issue_comment", "comment_edited": "issue_comment", "branch": "push", "ping": "ping",
}  # fmt: skip
_ACTIONS = {
    "merged": "closed", "pushed": "synchronize", "labelled": "labeled", "reviewed": "submitted",
    "commented": "created", "comment_edited": "edited",
}  # fmt: skip


@dataclass
class App:
    """A GitHub App, installed once."""

    id: int
    installation: int
    slug: str
    key: rsa.RSAPublicKey
    user: User
    permissions: dict[str, str]
    given: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Activity:
    id: int
    repository: int
    ref: str
    before: str
    after: str
    kind: str
    actor: int
    at: datetime


class GitHubDouble(State):
    """One server; people act through the methods of `State`."""

    name = "github"
    api_prefix = "/api/v3"
    styles = ("merge", "squash", "rebase")
    git_read = frozenset({"git", "repo", "public_repo"})
    git_write = frozenset({"git", "repo", "public_repo"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.apps: list[App] = []
        self.activity: list[Activity] = []
        self.most_per_page = 100
        self.settles_slowly = False  #: `mergeable` is still null
        self._tests: dict[tuple[str, str], str | None] = {}
        self._spec = github_spec()

    def spec(self) -> Spec:
        """What requests and answers are held against."""
        return self._spec

    @property
    def shapes(self) -> Shapes:
        """With the address that the server has by now."""
        return Shapes(self.url, self.api_url)

    # --- what GitHub decides otherwise

    @act
    def pushed(self, user: User, repository: Repository, ref: str, old: str, new: str) -> None:
        """Keep the activity; a base that holds a head has merged it; a deleted base is followed or closes."""
        self._note(user, repository, ref, old, new)
        super().pushed(user, repository, ref, old, new)
        branch = ref.removeprefix("refs/heads/")
        for pull in self.pulls_of(repository):
            if pull.state != "open" or pull.base != branch:
                continue
            if new == gitwork.ZERO:
                self._follow(user, repository, pull, branch)
            elif gitwork.is_ancestor(repository.folder, pull.head_sha, new):
                pull.merge_sha = new
                self._end(user, pull, "merged")

    def _follow(self, user: User, repository: Repository, pull: Pull, gone: str) -> None:
        into = [one.base for one in self.pulls_of(repository) if one.state == "merged" and one.branch == gone]
        if into:
            pull.base = into[-1]
            self._tell("edited", pull, user)
        else:
            self._end(user, pull, "closed")

    def _note(self, user: User, repository: Repository, ref: str, old: str, new: str) -> None:
        kind = "push"
        if any(new == one.merge_sha for one in self.pulls_of(repository)):
            kind = "pr_merge"
        elif old == gitwork.ZERO:
            kind = "branch_creation"
        elif new == gitwork.ZERO:
            kind = "branch_deletion"
        elif not gitwork.is_ancestor(repository.folder, old, new):
            kind = "force_push"
        self.activity.append(Activity(self.new_id(), repository.id, ref, old, new, kind, user.id, self.now()))

    def add_app(self, key: rsa.RSAPublicKey, user: User, permissions: dict[str, str]) -> App:
        """An App whose acts are done by this user, named `<slug>[bot]`."""
        app = App(self.new_id(), self.new_id(), user.login.removesuffix("[bot]"), key, user, permissions)
        self.apps.append(app)
        return app

    # --- webhooks

    def deliveries(self, event: Event, hook: Hook) -> Sequence[Delivery]:
        """https://docs.github.com/en/webhooks/webhook-events-and-payloads"""
        kind = _EVENTS[event.name]
        is_ping = kind == "ping" and event.ref == str(hook.id)
        if not is_ping and kind not in hook.events and "*" not in hook.events:
            return ()
        body = json.dumps(self._payload(event, hook)).encode()
        signature = hmac.new(hook.secret.encode(), body, sha256).hexdigest()
        headers = {
            "content-type": "application/json", "user-agent": "GitHub-Hookshot/1", "x-github-event": kind,
            "x-github-delivery": str(uuid4()), "x-github-hook-id": str(hook.id),
        }  # fmt: skip
        if hook.secret:
            headers["x-hub-signature-256"] = f"sha256={signature}"
        return (Delivery(hook.url, headers, body),)

    def _payload(self, event: Event, hook: Hook) -> dict[str, Any]:
        shapes = self.shapes
        said: dict[str, Any] = {
            "repository": shapes.repository(event.repository), "sender": shapes.user(event.actor),
        }  # fmt: skip
        if event.name == "ping":
            return {**said, "zen": "Keep it simple.", "hook_id": hook.id, "hook": shapes.hook(hook)}
        if event.name == "branch":
            named = {"name": event.actor.login, "email": f"{event.actor.login}@example.org"}
            made = {"created": event.old == gitwork.ZERO, "deleted": event.new == gitwork.ZERO, "forced": False}
            return {
                **said, **made, "ref": event.ref, "before": event.old, "after": event.new, "pusher": named,
                "commits": [], "head_commit": None, "compare": self.url, "base_ref": None,
            }  # fmt: skip
        assert event.pull is not None
        said["action"] = _ACTIONS.get(event.name, event.name)
        if event.comment is not None:
            said["issue"] = {"number": event.pull.number}
            said["comment"] = self.comment_json(event.pull, event.comment)
            return said
        said |= {"number": event.pull.number, "pull_request": self.pull_json(event.pull)}
        if event.name == "pushed":
            said |= {"before": event.old, "after": event.new}
        if event.review is not None:
            said["review"] = self.review_json(event.pull, event.review)
            said["review"]["state"] = said["review"]["state"].lower()
        return said

    # --- answers

    def denied(self, error: Denied) -> Any:
        """As GitHub says no."""
        page = "https://docs.github.com/rest"
        if error.status == 422:
            return {"message": "Validation Failed", "errors": [{"code": "custom", "message": error.message}],
                    "documentation_url": page, "status": "422"}  # fmt: skip
        words = "Moved Permanently" if isinstance(error, Moved) else error.message
        return {"message": words, "documentation_url": page, "status": str(error.status)}

    def headers(self, request: Request) -> dict[str, str]:
        """Limits, and the scopes of a classic token."""
        found = self.bearer(self.token_in(request))
        scopes = {"x-oauth-scopes": ", ".join(sorted(found[1] - {"git"}))} if found and found[1] - {"git"} else {}
        return {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-github-request-id": "1", **scopes}

    def _user(self, number: int | None) -> User | None:
        found = self.users.get(number) if number is not None else None
        return None if found is None or found.deleted else found

    def simple_json(self, pull: Pull) -> dict[str, Any]:
        """In a list."""
        head = self.repositories.get(pull.head_repository) if pull.head_repository is not None else None
        merge_sha = pull.merge_sha if pull.state == "merged" else self._test_merge(pull)
        return self.shapes.pull_simple(pull, self.home(pull), head, self._user(pull.author), merge_sha)

    def pull_json(self, pull: Pull) -> dict[str, Any]:
        """By its number."""
        mergeable = None if self.settles_slowly else pull.state == "open" and self._test_merge(pull) is not None
        return self.shapes.pull(self.simple_json(pull), pull, self._user(pull.merged_by), mergeable)

    def review_json(self, pull: Pull, review: Any) -> dict[str, Any]:
        """One review."""
        url = f"{self.api_url}/repos/{self.home(pull).full_name}/pulls/{pull.number}"
        return self.shapes.review(review, url, self._user(review.user))

    def comment_json(self, pull: Pull, comment: Any) -> dict[str, Any]:
        """One comment."""
        return self.shapes.comment(comment, self.home(pull), pull.number, self._user(comment.user))

    def _test_merge(self, pull: Pull) -> str | None:
        """The merge that GitHub tries while it is open, and keeps naming once it is closed."""
        folder = self.home(pull).folder
        base = gitwork.tip(folder, f"refs/heads/{pull.base}") or pull.base_sha
        key = (base, pull.head_sha)
        if key not in self._tests:
            try:
                self._tests[key] = gitwork.merged(folder, base, pull.head_sha, "Test", ("GitHub", "noreply@github.com"))
            except gitwork.Clash:
                self._tests[key] = None
        return self._tests[key]

    # --- requests

    def who(self, request: Request) -> tuple[User, set[str]]:
        """Whose token it is."""
        found = self.bearer(self.token_in(request))
        if found is None:
            raise Denied(401, "Bad credentials", "token")
        return found

    def place(self, request: Request) -> tuple[User, Repository]:
        """Who asks, and the repository of the path."""
        user, scopes = self.who(request)
        try:
            repository = self.at(f"{request.path_params['owner']}/{request.path_params['repo']}")
        except Moved as moved:
            moved.status = 301 if request.method == "GET" else 307
            raise
        self.need(user, repository, "read")
        if not scopes & ({"git", "repo"} if repository.private else {"git", "repo", "public_repo"}):
            raise Denied(404 if repository.private else 403, "Not Found", "scope")
        return user, repository

    def the_pull(self, request: Request) -> tuple[User, Repository, Pull]:
        """Who asks, and the pull request of the path."""
        user, repository = self.place(request)
        return user, repository, self.pull(repository, int(request.path_params["number"]))

    def fresh(self, request: Request, value: Any, headers: dict[str, str] | None = None) -> Response:
        """With an ETag; 304 to whoever has it."""
        tag = f'W/"{sha1(json.dumps(value, sort_keys=True).encode(), usedforsecurity=False).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return JSONResponse(value, headers={"etag": tag, **(headers or {})})

    def paged(self, request: Request, items: Sequence[Any]) -> Response:
        """One page, and a Link to the next."""
        query = dict(request.query_params)
        size, page = min(int(query.get("per_page", 30)), self.most_per_page), int(query.get("page", 1))
        shown, headers = list(items[(page - 1) * size : page * size]), {}
        if page * size < len(items):
            following = urlencode({**query, "page": page + 1})
            headers["link"] = f'<{self.url}{request.scope["raw_path"].decode()}?{following}>; rel="next"'
        return self.fresh(request, shown, headers)

    def routes(self) -> Sequence[BaseRoute]:
        """The REST API."""
        return routes(self)

    # --- Apps

    def signed_app(self, request: Request) -> App:
        """The App whose key signed this, for ten minutes at most: as GitHub checks it."""
        parts = self.token_in(request).split(".")
        if len(parts) != 3:
            raise Denied(401, "A JSON web token could not be decoded", "token")
        claims = json.loads(_decoded(parts[1]))
        app = next((one for one in self.apps if str(one.id) == str(claims["iss"])), None)
        if app is None or json.loads(_decoded(parts[0])) != {"alg": "RS256", "typ": "JWT"}:
            raise Denied(401, "Integration not found", "token")
        try:
            app.key.verify(_decoded(parts[2]), f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Denied(401, "A JSON web token could not be decoded", "token") from None
        now = self.now().timestamp()
        if claims["iat"] > now or claims["exp"] < now:
            raise Denied(401, "'Issued at' claim ('iat') must be an Integer representing the past", "token")
        if claims["exp"] > now + 600:
            raise Denied(401, "'Expiration time' claim ('exp') is too far in the future", "token")
        return app

    def installation_token(self, app: App) -> dict[str, Any]:
        """Good for an hour."""
        token = f"ghs_{uuid4().hex}"
        app.given.append(token)
        app.user.tokens[token] = {"git"}
        until = moment(self.now() + timedelta(hours=1))
        return {"token": token, "expires_at": until, "permissions": app.permissions, "repository_selection": "selected"}


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
