"""Gitea and Forgejo, as far as gitmedic speaks to them: their REST API, their notion of a review, their webhooks.

Decides as these forges do: a review is stale by content only and counts all the same, an administrator merges past the
rules when asked to force it, a pull request can be called merged without a merge, and what was merged by a push is
ascribed to whoever pushed the base last. `is_forgejo` names the switches as Forgejo does.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.routing import BaseRoute

from tests.forges import gitea_json, gitwork
from tests.forges.gitea_json import GHOST, moment
from tests.forges.gitea_routes import routes
from tests.forges.gitea_spec import gitea_spec
from tests.forges.pulls import State
from tests.forges.schema import Spec
from tests.forges.state import Comment, Delivery, Denied, Event, Hook, Moved, Pull, Repository, Review, User, act

_RANK = {"read": 1, "write": 2, "admin": 3}
_TIMELINE = {
    "opened": "pull_push", "pushed": "pull_push", "closed": "close", "merged": "merge_pull", "reopened": "reopen",
    "reviewed": "review", "dismissed": "dismiss_review", "commented": "comment", "labelled": "label",
    "edited": "change_title", "comment_edited": "",
}  # fmt: skip
#: event → what hooks are told in `X-Gitea-Event` and `X-Gitea-Event-Type`
_KINDS = {
    "opened": ("pull_request", "pull_request"), "closed": ("pull_request", "pull_request"),
    "merged": ("pull_request", "pull_request"), "reopened": ("pull_request", "pull_request"),
    "edited": ("pull_request", "pull_request"), "pushed": ("pull_request", "pull_request_sync"),
    "labelled": ("pull_request", "pull_request_label"), "commented": ("issue_comment", "pull_request_comment"),
    "comment_edited": ("issue_comment", "pull_request_comment"), "branch": ("push", "push"),
}  # fmt: skip
_REVIEWS = {"approve": "approved", "reject": "rejected", "comment": "comment"}


@dataclass
class Happening:
    """One line of a pull request's timeline; `hidden`: a comment on code, which the timeline leaves out."""

    id: int
    kind: str
    user: int
    body: str
    at: datetime
    hidden: bool = False


@dataclass
class Team:
    """Of the organisation that owns a repository."""

    id: int
    name: str
    permission: str
    members: list[int] = field(default_factory=list)


class GiteaDouble(State):
    """One server; people act through the methods of `State`."""

    name = "gitea"
    api_prefix = "/api/v1"
    styles = ("merge", "squash", "rebase")
    git_read = frozenset({"git", "read:repository", "write:repository"})
    git_write = frozenset({"git", "write:repository"})

    def __init__(self, folder: Path, *, is_forgejo: bool = False) -> None:
        super().__init__(folder)
        self.is_forgejo = is_forgejo
        self.most_per_page = 50
        self.autodetects = False  #: a head that reaches the base by a push counts as merged
        self.settles_slowly = 0  #: so many merges are answered with a request to come back
        self.learns_late = 0  #: so many pull requests are refused since a push is not yet known
        self.resurrects = False  #: a push to a deleted branch opens its pull request again
        self.calls_outside = True  #: hooks may be sent to any host
        self.teams: dict[int, list[Team]] = {}  #: of repositories that an organisation owns
        self.timelines: dict[int, list[Happening]] = {}
        self.official: set[int] = set()
        self.agit: set[int] = set()  #: pull requests that were pushed to `refs/for`
        self._spec = gitea_spec()

    def spec(self) -> Spec:
        """What requests and answers are held against."""
        return self._spec

    def routes(self) -> Sequence[BaseRoute]:
        """The REST API."""
        return routes(self)

    # --- what these forges decide otherwise

    @act
    def pushed(self, user: User, repository: Repository, ref: str, old: str, new: str) -> None:
        """A base that holds a head may have merged it; a branch that comes back may open a closed one again."""
        super().pushed(user, repository, ref, old, new)
        branch = ref.removeprefix("refs/heads/")
        if new == gitwork.ZERO:
            return
        for pull in self.pulls_of(repository):
            if self.resurrects and old == gitwork.ZERO and (pull.state, pull.branch) == ("closed", branch):
                self.reopen(user, pull)
            if not self.autodetects or pull.state != "open" or pull.base != branch:
                continue
            if gitwork.is_ancestor(repository.folder, pull.head_sha, new):
                brought = gitwork.git(
                    repository.folder, "rev-list", "--ancestry-path", "--merges", "--reverse", f"{pull.head_sha}..{new}"
                )
                self._call_merged(user, pull, brought.partition("\n")[0] or pull.head_sha)

    @act
    def call_merged(self, user: User, pull: Pull, commit: str) -> None:
        """`manually-merged`: any commit of the base, and no rule is looked at."""
        repository = self.home(pull)
        self.need(user, repository, "write")
        if pull.state != "open":
            raise Denied(404 if pull.state == "closed" else 405, f"it is {pull.state}", "not open")
        if "manual" not in repository.styles:
            raise Denied(405, "manually-merged is not allowed an allowed merge style for this repository", "style")
        tip = gitwork.tip(repository.folder, f"refs/heads/{pull.base}") or ""
        if len(commit) != 40 or not gitwork.is_ancestor(repository.folder, commit, tip):
            raise Denied(409, "Wrong commit ID", "wrong commit")
        self._call_merged(user, pull, commit)

    def _call_merged(self, user: User, pull: Pull, commit: str) -> None:
        pull.style, pull.merge_sha = "manual", commit
        self._end(user, pull, "merged")
        seconds = int(gitwork.git(self.home(pull).folder, "show", "-s", "--format=%at", commit))
        # the moment is whatever the commit's author wrote into it
        pull.merged_at = datetime.fromtimestamp(seconds, UTC)

    @act
    def force_merge(self, user: User, pull: Pull) -> str:
        """As by an administrator's tick in the page of the forge."""
        rule = self.rule_of(pull)
        if not self.may(user, self.home(pull), "admin") or (rule is not None and not rule.admins_bypass):
            raise Denied(405, "Does not have enough approvals", "not approved")
        kept, self.home(pull).protection = self.home(pull).protection, {}
        try:
            return self.merge(user, pull)
        finally:
            self.home(pull).protection = kept

    def check_merge(self, user: User, pull: Pull, style: str) -> None:
        """Stale approvals count, unless the rule says that they are ignored; administrators are nobody special."""
        rule = self.rule_of(pull)
        if rule is None:
            return
        ignores = bool(rule.more.get("ignore_stale"))
        counted = [one for one in self.approvals(pull) if one.id in self.official and not (ignores and one.stale)]
        if len(counted) < rule.required_reviews:
            raise Denied(405, "Does not have enough approvals", "not approved")

    def approvals(self, pull: Pull) -> list[Review]:
        """By what each reviewer might do when the review was written."""
        latest = {one.user: one for one in pull.reviews if one.state in ("approve", "reject")}
        return [one for one in latest.values() if one.state == "approve" and not one.dismissed]

    @act
    def review(self, user: User, pull: Pull, state: str, *, commit_sha: str = "", body: str = "") -> Review:
        """The commit is whatever is named; nobody approves or refuses their own."""
        if user.id == pull.author and state in ("approve", "reject"):
            raise Denied(422, f"{state} your own pull is not allowed", "own")
        review = super().review(user, pull, state, commit_sha=commit_sha, body=body)
        if state in ("approve", "reject"):
            review.stale = review.commit_sha != pull.head_sha and self._differs(pull, review.commit_sha, pull.head_sha)
            if self.may(user, self.home(pull), "write"):
                self.official.add(review.id)
        return review

    def head_moved(self, pull: Pull, old: str, new: str, by: User) -> None:
        """Stale where the files differ from both the old head and the merge base: a rebase alone changes nothing."""
        rule = self.rule_of(pull)
        if self._differs(pull, old, new):
            for review in pull.reviews:
                review.stale = review.state in ("approve", "reject")
                if rule is not None and rule.dismiss_stale and review.state == "approve":
                    review.dismissed = True
        for review in pull.reviews:
            review.stale = review.stale and review.commit_sha != new

    def _differs(self, pull: Pull, old: str, new: str) -> bool:
        folder = self.home(pull).folder
        if gitwork.tip(folder, old) is None:
            return True
        base = gitwork.git(folder, "merge-base", pull.base, new)
        return bool(gitwork.git(folder, "diff", "--name-only", new, old, base))

    @act
    def push_for(self, user: User, repository: Repository, topic: str, sha: str, base: str = "main") -> Pull:
        """`git push HEAD:refs/for/<base>`: whoever may read opens a pull request that has no branch."""
        self.need(user, repository, "read")
        branch = f"{user.login}/{topic}"
        gitwork.git(repository.folder, "update-ref", f"refs/heads/{branch}", sha)
        pull = self.open(user, repository, branch, base, topic, head=repository)
        gitwork.git(repository.folder, "update-ref", "-d", f"refs/heads/{branch}")
        self.agit.add(pull.id)
        return pull

    @act
    def comment_on_code(self, user: User, pull: Pull) -> None:
        """Counted nowhere that the timeline shows."""
        self._note(pull, "code", user, "look here", hidden=True)

    def _tell(
        self, name: str, pull: Pull, actor: User, *, review: Review | None = None, comment: Comment | None = None,
        old: str = "", new: str = "",
    ) -> None:  # fmt: skip
        if _TIMELINE[name]:
            body = comment.body if comment else ""
            if name == "opened":
                body = json.dumps({"is_force_push": False, "commit_ids": [pull.head_sha]})
            elif name == "pushed":
                forced = not gitwork.is_ancestor(self.home(pull).folder, old, new)
                body = json.dumps({"is_force_push": forced, "commit_ids": [old, new] if forced else [new]})
            self._note(pull, _TIMELINE[name], actor, body)
        super()._tell(name, pull, actor, review=review, comment=comment, old=old, new=new)

    def _note(self, pull: Pull, kind: str, user: User, body: str, *, hidden: bool = False) -> None:
        line = Happening(self.new_id(), kind, user.id, body, self.now(), hidden)
        self.timelines.setdefault(pull.id, []).append(line)

    # --- webhooks

    def deliveries(self, event: Event, hook: Hook) -> Sequence[Delivery]:
        """With GitHub's headers beside its own; without a secret the signatures are there and empty."""
        name, kind = _KINDS.get(event.name, ("", ""))
        if event.name == "reviewed" and event.review is not None:
            word = _REVIEWS[event.review.state]
            name, kind = f"pull_request_{word}", f"pull_request_review_{word}"
        wanted = {"push"} if name == "push" else {"pull_request", kind, "pull_request_review"}
        if not kind or not wanted & set(hook.events):
            return ()
        body = json.dumps(self._payload(event, kind)).encode()
        signed, old = (
            hmac.new(hook.secret.encode(), body, kind_of).hexdigest() if hook.secret else ""
            for kind_of in (sha256, sha1)
        )
        delivery = str(uuid4())
        headers = {"content-type": "application/json", "x-hub-signature": f"sha1={old}",
                   "x-hub-signature-256": f"sha256={signed}"}  # fmt: skip
        for prefix in ("x-gitea", "x-gogs", "x-github", *(("x-forgejo",) if self.is_forgejo else ())):
            headers |= {f"{prefix}-delivery": delivery, f"{prefix}-event": name, f"{prefix}-event-type": kind}
            if prefix != "x-github":
                headers[f"{prefix}-signature"] = signed
        return (Delivery(hook.url, headers, body),)

    def _payload(self, event: Event, kind: str) -> dict[str, Any]:
        said: dict[str, Any] = {
            "repository": self.repository_json(event.repository, event.actor), "sender": self.user_json(event.actor.id),
        }  # fmt: skip
        if event.name == "branch":
            return {**said, "ref": event.ref, "before": event.old, "after": event.new, "commits": [],
                    "pusher": said["sender"]}  # fmt: skip
        assert event.pull is not None
        action = {"merged": "closed", "pushed": "synchronized", "labelled": "label_updated", "commented": "created"}
        said |= {"action": "reviewed" if event.review else action.get(event.name, event.name)}
        said |= {"number": event.pull.number, "pull_request": self.pull_json(event.pull, event.actor)}
        said |= {"review": {"type": kind, "content": event.review.body} if event.review else None, "commit_id": ""}
        if event.comment is not None:
            said |= {"comment": self.comment_json(event.pull, event.comment), "is_pull": True}
        return said

    # --- answers

    def denied(self, error: Denied) -> Any:
        """As they say no; another status where theirs differs."""
        if error.reason == "archived":
            error.status = 423
            return {"message": "repo is archived", "url": f"{self.url}/api/swagger"}
        words = "Moved Permanently" if isinstance(error, Moved) else error.message
        return {"message": words, "url": f"{self.url}/api/swagger"}

    def headers(self, request: Request) -> dict[str, str]:
        """Nothing about limits: they have none in their API."""
        return {"cache-control": "max-age=0, private, must-revalidate"}

    def user_json(self, number: int | None) -> dict[str, Any]:
        """A user; Ghost in the place of one who was deleted."""
        found = self.users.get(number) if number is not None else None
        return gitea_json.user(GHOST if found is None or found.deleted else found, self.url)

    def rank(self, user: User, repository: Repository) -> int:
        """What a user may do there: 0 nothing, 1 read, 2 write, 3 administer."""
        return _RANK.get(repository.rights.get(user.id, ""), 0 if repository.private else 1)

    def repository_json(self, repository: Repository, user: User) -> dict[str, Any]:
        """For whoever asks."""
        return gitea_json.repository(
            repository, self.url, self.rank(user, repository),
            None if self.is_forgejo else ("manual" in repository.styles, self.autodetects),
        )  # fmt: skip

    def page_of(self, pull: Pull) -> str:
        """Of its repository, as a browser opens it."""
        return f"{self.url}/{self.home(pull).full_name}"

    def pull_json(self, pull: Pull, user: User, *, in_list: bool = False) -> dict[str, Any]:
        """Alone, its head is the branch as it is now, whatever became of the pull request; in a list its own ref."""
        home = self.home(pull)
        head = self.repositories.get(pull.head_repository) if pull.head_repository is not None else None
        is_agit, tip = pull.id in self.agit, None
        if head is not None and not is_agit:
            tip = gitwork.tip(head.folder, f"refs/heads/{pull.branch}")
        ref = pull.branch if tip else f"refs/pull/{pull.number}/head"
        sides = {
            "base": {
                "label": pull.base, "ref": pull.base, "repo_id": home.id, "repo": self.repository_json(home, user),
                "sha": gitwork.tip(home.folder, f"refs/heads/{pull.base}") or "",
            },
            "head": {
                "label": "" if is_agit else pull.branch, "ref": ref, "repo_id": head.id if head else -1,
                "repo": self.repository_json(head, user) if head else None,
                "sha": pull.head_sha if in_list or tip is None else tip,
            },
        }  # fmt: skip
        people = {
            "author": self.user_json(pull.author),
            "merged_by": self.user_json(pull.merged_by) if pull.state == "merged" else None,
            "labels": [gitea_json.label(name, home.labels[name], self.page_of(pull)) for name in pull.labels],
        }
        return gitea_json.pull(pull, sides, people, self.page_of(pull))

    def review_json(self, pull: Pull, review: Review) -> dict[str, Any]:
        """One review."""
        page = f"{self.page_of(pull)}/pulls/{pull.number}"
        return gitea_json.review(review, self.user_json(review.user), page, official=review.id in self.official)

    def comment_json(self, pull: Pull, comment: Comment) -> dict[str, Any]:
        """One comment."""
        return gitea_json.comment(comment, self.user_json(comment.user), f"{self.page_of(pull)}/pulls/{pull.number}")

    def timeline_json(self, pull: Pull, line: Happening) -> dict[str, Any]:
        """One line of the timeline."""
        return {
            "id": line.id, "type": line.kind, "html_url": f"{self.page_of(pull)}/pulls/{pull.number}#{line.id}",
            "pull_request_url": f"{self.page_of(pull)}/pulls/{pull.number}", "issue_url": "", "body": line.body,
            "user": self.user_json(line.user), "created_at": moment(line.at), "updated_at": moment(line.at),
        }  # fmt: skip
