"""GitLab, as far as gitmedic speaks to it: its REST API with its words and statuses, and its webhooks.

Decides as GitLab does: an approval names no commit, and a push takes approvals back some time later (Premium, where
the project says so) or never (Free); authors approve their own; what was made or pushed a moment ago cannot be merged
yet; a new base makes a new version. Its clock never shows the same moment twice.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.routing import BaseRoute

from tests.forges import gitwork
from tests.forges.gitlab_json import LEVELS, Shapes, moment
from tests.forges.gitlab_routes import routes
from tests.forges.gitlab_spec import gitlab_spec
from tests.forges.pulls import State
from tests.forges.schema import Spec
from tests.forges.state import Delivery, Denied, Event, Hook, Pull, Repository, Review, User, Version, act

_ACTIONS = {
    "opened": "open", "closed": "close", "merged": "merge", "reopened": "reopen", "edited": "update",
    "labelled": "update", "pushed": "update", "dismissed": "unapproved",
}  # fmt: skip
#: some of https://docs.gitlab.com/user/project/quick_actions/
_QUICK = re.compile(r"^/(approve|close|label ~?\S+)[ ]*$", re.MULTILINE)
#: what GitLab says of one that was made or pushed a moment ago, one step each time that it is looked at
CHECKS = ("preparing", "checking")


@dataclass(frozen=True)
class Push:
    repository: int
    user: int
    ref: str
    old: str
    new: str
    at: datetime


class GitLabDouble(State):
    """One server; people act through the methods of `State`."""

    name = "gitlab"
    api_prefix = "/api/v4"
    styles = ("merge", "squash")  #: those for which the base may have moved on
    git_read = frozenset({"git", "api", "read_repository", "write_repository"})
    git_write = frozenset({"git", "api", "write_repository"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pushes: list[Push] = []
        self.most_per_page = 100
        self.merge_method, self.squash_option = "merge", "default_off"
        self.approval_settings: dict[str, Any] | None = None  #: None: the Free tier has none
        self.dates_approvals = True  #: older versions do not
        self.signs_webhooks = True
        self.shows_protection = True  #: to Developers as well
        self.hidden_versions = 0  #: newest ones that are not made yet, though the branch has moved
        self.syncing: set[int] = set()  #: whose approvals are being taken back
        self.locked: set[int] = set()  #: whose merge is under way
        self.system_notes: set[int] = set()  #: comments that GitLab wrote itself in somebody's name
        self.merged_by_push: set[int] = set()
        self._checks: dict[int, list[str]] = {}
        self._squashes: dict[int, str] = {}
        self._last = datetime.fromtimestamp(0, UTC)
        self._spec = gitlab_spec()

    def spec(self) -> Spec:
        """What requests and answers are held against."""
        return self._spec

    @property
    def shapes(self) -> Shapes:
        """With the address that the server has by now."""
        return Shapes(self.url)

    def now(self) -> datetime:
        """In milliseconds, each later than the one before."""
        now = datetime.now(UTC) + self.ahead
        self._last = max(
            now.replace(microsecond=now.microsecond // 1000 * 1000), self._last + timedelta(milliseconds=1)
        )
        return self._last

    # --- what GitLab decides otherwise

    @act
    def open(self, user: User, repository: Repository, *args: Any, **more: Any) -> Pull:
        """It cannot be merged at once."""
        pull = super().open(user, repository, *args, **more)
        self._checks[pull.id] = list(CHECKS)
        return pull

    @act
    def review(self, user: User, pull: Pull, state: str, *, commit_sha: str = "", body: str = "") -> Review:
        """Authors approve their own; an approval is there or not; whoever asks for changes takes theirs back."""
        self.need(user, self.home(pull), "read")
        if pull.state != "open" and state != "comment":
            raise Denied(405, f"it is {pull.state}", "not open")
        standing = [one for one in pull.reviews if one.user == user.id and not one.dismissed]
        for one in standing:
            if one.state == state == "approve":
                return one
            one.dismissed = one.dismissed or state != "comment"
        review = Review(self.new_id(), user.id, state, body, "", self.now())
        pull.reviews.append(review)
        self._tell("reviewed", pull, user, review=review)
        return review

    @act
    def obey(self, user: User, pull: Pull, text: str) -> None:
        """Lines that are commands, in whatever whoever wrote them wrote."""
        for command in _QUICK.findall(text):
            if command == "approve":
                self.review(user, pull, "approve")
            elif command == "close":
                self.close(user, pull)
            else:
                self.label(user, pull, [*pull.labels, command.split()[1].lstrip("~")])

    def head_moved(self, pull: Pull, old: str, new: str, by: User) -> None:
        """Approvals are taken back later, in `sync`; until then they are shown."""
        self._checks[pull.id] = list(CHECKS)
        if self.approval_settings and self.approval_settings.get("reset_approvals_on_push"):
            self.syncing.add(pull.id)

    @act
    def checked(self, pull: Pull) -> None:
        """Whether it can be merged is worked out."""
        self._checks.pop(pull.id, None)

    @act
    def sync(self, pull: Pull) -> None:
        """What GitLab's own workers do some seconds after a push."""
        self.syncing.discard(pull.id)
        newest = pull.versions[-1].at
        for review in pull.reviews:
            review.dismissed = review.dismissed or (review.state == "approve" and review.at < newest)

    @act
    def edit(self, user: User, pull: Pull, *, base: str | None = None, **words: Any) -> None:
        """Another base is another version."""
        super().edit(user, pull, base=base, **words)
        if base is not None:
            pull.versions.append(Version(pull.head_sha, self.now(), user.id))

    @act
    def pushed(self, user: User, repository: Repository, ref: str, old: str, new: str) -> None:
        """Kept as an event; a base that holds a head has merged it."""
        self.pushes.append(Push(repository.id, user.id, ref, old, new, self.now()))
        super().pushed(user, repository, ref, old, new)
        for pull in self.pulls_of(repository):
            in_base = pull.state == "open" and pull.base == ref.removeprefix("refs/heads/") and new != gitwork.ZERO
            if in_base and gitwork.is_ancestor(repository.folder, pull.head_sha, new):
                pull.merge_sha = new
                self.merged_by_push.add(pull.id)
                self._end(user, pull, "merged")

    def _merged(self, user: User, pull: Pull, style: str, tip: str, commit: str, message: str) -> str:
        """A squash is merged in its turn, unless the project only moves forward."""
        made = super()._merged(user, pull, style, tip, commit, message)  # type: ignore[arg-type]
        if style != "squash":
            return made
        self._squashes[pull.id] = made
        if self.merge_method == "ff":
            return made
        who = (user.login, f"{user.login}@example.org")
        return gitwork.merged(self.home(pull).folder, tip, made, f"Merge branch {pull.branch!r}", who)

    # --- answers

    def denied(self, error: Denied) -> Any:
        """As GitLab says no."""
        if error.status == 409 and error.reason == "exists":
            return {"message": [error.message]}
        return {"message": f"{error.status} {error.message}" if error.status in (401, 403, 404, 405) else error.message}

    def _user(self, number: int | None) -> User | None:
        found = self.users.get(number) if number is not None else None
        return None if found is None or found.deleted else found

    def level(self, user: User, repository: Repository) -> int:
        """The access level of a member."""
        return LEVELS[repository.rights.get(user.id, "")]

    def status_of(self, pull: Pull, *, looked_at: bool = False) -> str:
        """detailed_merge_status, in GitLab's own order; `looked_at`: what is asked for by its number is checked."""
        if pull.state != "open":
            # what a push has merged is never checked again
            return "unchecked" if pull.id in self.merged_by_push else "not_open"
        steps = self._checks.get(pull.id, [])
        if steps:
            return steps.pop(0) if looked_at else steps[0]
        if pull.draft:
            return "draft_status"
        if pull.id in self.syncing:
            return "approvals_syncing"
        rule = self.rule_of(pull)
        if rule is not None and len(self.approvals(pull)) < rule.required_reviews:
            return "not_approved"
        folder, tip = self.home(pull).folder, gitwork.tip(self.home(pull).folder, f"refs/heads/{pull.base}")
        if self.merge_method == "ff" and not gitwork.is_ancestor(folder, tip or "", pull.head_sha):
            return "need_rebase"
        return "mergeable"

    def request_json(self, pull: Pull, *, looked_at: bool = False) -> dict[str, Any]:
        """One merge request."""
        people = {"author": pull.author, "merged_by": pull.merged_by, "closed_by": pull.closed_by}
        squash = self._squashes.get(pull.id)
        merge = None if squash is not None and squash == pull.merge_sha else pull.merge_sha
        shown = self.shapes.merge_request(
            pull, self.home(pull), {name: self._user(number) for name, number in people.items()}, (merge, squash),
            self.status_of(pull, looked_at=looked_at),
        )  # fmt: skip
        return shown | ({"state": "locked"} if pull.id in self.locked else {})

    def approvals_json(self, pull: Pull) -> dict[str, Any]:
        """Those that are there now."""
        given = [one for one in pull.reviews if one.state == "approve" and not one.dismissed]
        found = []
        for one in given:
            said: dict[str, Any] = {"user": self.shapes.basic(self.users[one.user])}
            if self.dates_approvals:
                said["approved_at"] = moment(one.at)
            found.append(said)
        return {"user_has_approved": False, "user_can_approve": True, "approved": bool(found), "approved_by": found}

    def reviewers_json(self, pull: Pull) -> list[dict[str, Any]]:
        """Each with the last word."""
        words = {"approve": "approved", "reject": "requested_changes", "comment": "reviewed"}
        latest = {one.user: one for one in pull.reviews}
        return [
            {
                "user": self.shapes.basic(self.users[number]), "created_at": moment(pull.created_at),
                "state": words[one.state] if not one.dismissed else "unapproved",
            }
            for number, one in latest.items()
        ]  # fmt: skip

    def routes(self) -> Sequence[BaseRoute]:
        """The REST API."""
        return routes(self)

    def token_in(self, request: Request) -> str:
        """The header of GitLab's own."""
        return request.headers.get("private-token", "")

    # --- webhooks

    def deliveries(self, event: Event, hook: Hook) -> Sequence[Delivery]:
        """https://docs.gitlab.com/user/project/integrations/webhook_events/"""
        is_push, is_note = event.name == "branch", event.name in ("commented", "comment_edited")
        if is_push and not event.ref.startswith("refs/heads/"):
            return ()
        wanted = "push_events" if is_push else "note_events" if is_note else "merge_requests_events"
        if wanted not in hook.events:
            return ()
        kind = "Push Hook" if is_push else "Note Hook" if is_note else "Merge Request Hook"
        body = json.dumps(self._push_said(event) if is_push else self._request_said(event)).encode()
        return (Delivery(hook.url, self._sealed(kind, hook.secret, body), body),)

    def _sealed(self, kind: str, secret: str, body: bytes) -> dict[str, str]:
        id, stamp = str(uuid4()), str(int(time.time()))
        headers = {
            "content-type": "application/json", "user-agent": "GitLab/19.5.0", "x-gitlab-event": kind,
            "x-gitlab-event-uuid": str(uuid4()), "x-gitlab-webhook-uuid": str(uuid4()), "x-gitlab-instance": self.url,
            "idempotency-key": id, "webhook-id": id, "webhook-timestamp": stamp,
        }  # fmt: skip
        if secret.startswith("whsec_"):
            key = base64.b64decode(secret.removeprefix("whsec_"))
            digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, sha256).digest()
            headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        elif secret:
            headers["x-gitlab-token"] = secret
        return headers

    def _project_said(self, repository: Repository) -> dict[str, Any]:
        return {
            "id": repository.id, "name": repository.name, "path_with_namespace": repository.full_name,
            "default_branch": repository.default_branch, "web_url": f"{self.url}/{repository.full_name}",
        }  # fmt: skip

    def _push_said(self, event: Event) -> dict[str, Any]:
        return {
            "object_kind": "push", "event_name": "push", "before": event.old, "after": event.new, "ref": event.ref,
            "ref_protected": False, "checkout_sha": None if event.new == gitwork.ZERO else event.new,
            "user_id": event.actor.id, "user_name": event.actor.login, "user_username": event.actor.login,
            "project_id": event.repository.id, "project": self._project_said(event.repository), "commits": [],
            "total_commits_count": 1,
        }  # fmt: skip

    def _request_said(self, event: Event) -> dict[str, Any]:
        pull = event.pull
        assert pull is not None
        about = {
            "id": pull.id, "iid": pull.number, "state": self.shapes.merge_request(
                pull, event.repository, dict.fromkeys(("author", "merged_by", "closed_by")), (None, None), "unchecked"
            )["state"],
            "action": _ACTIONS.get(event.name, "update"), "source_branch": pull.branch, "target_branch": pull.base,
            "source_project_id": pull.head_repository, "target_project_id": pull.repository, "title": pull.title,
            "author_id": pull.author, "last_commit": {"id": pull.head_sha}, "merge_commit_sha": pull.merge_sha,
        }  # fmt: skip
        if event.name == "reviewed" and event.review is not None and event.review.state == "approve":
            about["action"] = "approved"
        if event.name == "pushed":
            about["oldrev"] = event.old
        return {
            "object_kind": "note" if event.comment else "merge_request", "event_type": "merge_request",
            "user": {"id": event.actor.id, "username": event.actor.login, "name": event.actor.login},
            "project": self._project_said(event.repository), "object_attributes": about, "labels": [], "changes": {},
        }  # fmt: skip
