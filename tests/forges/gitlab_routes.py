"""GitLab's operations, each as its page below https://docs.gitlab.com/api/ says.

Decides which status and which words an act of the state is answered with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha1
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.forges import gitwork
from tests.forges.gitlab_json import moment
from tests.forges.state import Denied, Hook, Moved, Pull, Repository, User

if TYPE_CHECKING:
    from tests.forges.gitlab import GitLabDouble

_PROJECT = "/projects/{project:path}"
_ONE = f"{_PROJECT}/merge_requests/{{number:int}}"
_MOST_TEXT, _MOST_STATUS = 1_048_576, 255
_ALREADY = 'Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")'


def _body(request: Request) -> dict[str, Any]:
    """Endpoints run in threads; the body lies ready there."""
    found: dict[str, Any] = json.loads(anyio.from_thread.run(request.body) or b"{}")
    return found


class Operations:
    """The operations over one double."""

    def __init__(self, forge: GitLabDouble) -> None:
        self.forge = forge

    # --- who asks, and for what

    def who(self, request: Request) -> tuple[User, set[str]]:
        found = self.forge.bearer(self.forge.token_in(request))
        if found is None:
            raise Denied(401, "Unauthorized", "token")
        wanted = {"api", "read_api"} if request.method == "GET" else {"api"}
        if not found[1] & wanted:
            raise Denied(403, "insufficient_scope", "scope")
        return found

    def place(self, request: Request) -> tuple[User, Repository]:
        user, _ = self.who(request)
        name = request.path_params["project"]
        try:
            by_id = self.forge.repositories.get(int(name)) if name.isdigit() else None
            repository = by_id or self.forge.at(name)
        except Moved:
            # only reads are led on
            if request.method != "GET":
                raise Denied(404, "Project Not Found", "missing") from None
            raise
        except Denied:
            raise Denied(404, "Project Not Found", "missing") from None
        self.forge.need(user, repository, "read")
        return user, repository

    def one(self, request: Request) -> tuple[User, Repository, Pull]:
        user, repository = self.place(request)
        return user, repository, self.forge.pull(repository, request.path_params["number"])

    def paged(self, request: Request, items: Sequence[Any]) -> Response:
        """One page, a Link to the next, and an ETag."""
        query = dict(request.query_params)
        size, page = min(int(query.get("per_page", 20)), self.forge.most_per_page), int(query.get("page", 1))
        shown, headers = list(items[(page - 1) * size : page * size]), {}
        if page * size < len(items):
            following = urlencode({**query, "page": page + 1})
            headers = {"x-next-page": str(page + 1)}
            headers["link"] = f'<{self.forge.url}{request.scope["raw_path"].decode()}?{following}>; rel="next"'
        tag = f'W/"{sha1(json.dumps(shown).encode(), usedforsecurity=False).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return JSONResponse(shown, headers=headers | {"etag": tag})

    # --- merge requests

    def list_requests(self, request: Request) -> Response:
        _, repository = self.place(request)
        query, found = request.query_params, self.forge.pulls_of(repository)
        if query.get("scope", "created_by_me") != "all":
            user, _ = self.who(request)
            found = [pull for pull in found if pull.author == user.id]
        if query.get("state", "all") != "all":
            wanted = {"opened": "open"}.get(query["state"], query["state"])
            found = [pull for pull in found if pull.state == wanted]
        for name, of in (("source_branch", "branch"), ("target_branch", "base")):
            if name in query:
                found = [pull for pull in found if getattr(pull, of) == query[name]]
        if "updated_after" in query:
            after = datetime.fromisoformat(query["updated_after"])
            found = [pull for pull in found if pull.updated_at >= after]
        by_update = query.get("order_by") == "updated_at"
        found.sort(key=lambda pull: (pull.updated_at if by_update else pull.created_at, pull.number))
        if query.get("sort", "desc") == "desc":
            found.reverse()
        return self.paged(request, [self.forge.request_json(pull) for pull in found])

    def open_request(self, request: Request) -> Response:
        user, repository = self.place(request)
        said = _body(request)
        if len(said["title"]) > 255 or len(said.get("description", "")) > _MOST_TEXT:
            raise Denied(400, "title or description is too long")
        try:
            pull = self.forge.open(
                user, repository, said["source_branch"], said["target_branch"], said["title"],
                said.get("description", ""),
            )  # fmt: skip
        except Denied as denied:
            if denied.reason == "exists":
                words = "Another open merge request already exists for this source branch: !1"
                raise Denied(409, words, "exists") from None
            raise
        self.forge.obey(user, pull, said.get("description", ""))
        names = [name for name in said.get("labels", "").split(",") if name]
        if names:
            self.forge.label(user, pull, names)
        return JSONResponse(self.forge.request_json(pull), 201)

    def get_request(self, request: Request) -> Response:
        _, _, pull = self.one(request)
        return JSONResponse(self.forge.request_json(pull, looked_at=True))

    def put_request(self, request: Request) -> Response:
        user, repository, pull = self.one(request)
        said = _body(request)
        self.forge.need(user, repository, "write")
        if said.get("state_event") == "close":
            self.forge.close(user, pull)
        elif said.get("state_event") == "reopen":
            self.forge.reopen(user, pull)
        add, drop = ([name for name in said.get(key, "").split(",") if name] for key in ("add_labels", "remove_labels"))
        if add or drop:
            self.forge.label(user, pull, [*(name for name in pull.labels if name not in drop), *add])
        return JSONResponse(self.forge.request_json(pull))

    def merge(self, request: Request) -> Response:
        user, repository, pull = self.one(request)
        said = _body(request)
        if not self.forge.may(user, repository, "write"):
            raise Denied(401, "Unauthorized", "no right")
        if self.forge.status_of(pull) != "mergeable":
            raise Denied(405, "Method Not Allowed", "not mergeable")
        if said.get("sha") and said["sha"] != pull.head_sha:
            raise Denied(409, "SHA does not match HEAD of source branch", "head moved")
        squash = said.get("squash") or self.forge.squash_option == "always"
        style = "squash" if squash else "fast-forward" if self.forge.merge_method == "ff" else "merge"
        try:
            self.forge.merge(user, pull, style)  # type: ignore[arg-type]
        except Denied as denied:
            raise Denied(422 if denied.reason == "conflict" else 405, "Branch cannot be merged") from None
        if said.get("should_remove_source_branch"):
            self.forge.delete_branch(user, repository, pull.branch)
        return JSONResponse(self.forge.request_json(pull))

    def approvals(self, request: Request) -> Response:
        _, _, pull = self.one(request)
        return JSONResponse(self.forge.approvals_json(pull))

    def reviewers(self, request: Request) -> Response:
        _, _, pull = self.one(request)
        return JSONResponse(self.forge.reviewers_json(pull))

    def versions(self, request: Request) -> Response:
        _, _, pull = self.one(request)
        shown = len(pull.versions) - self.forge.hidden_versions
        return self.paged(request, self.forge.shapes.versions(pull, shown))

    # --- notes

    def notes(self, request: Request) -> Response:
        _, _, pull = self.one(request)
        found = [self._note(pull, one) for one in pull.comments]
        return self.paged(request, found if request.query_params.get("sort") == "asc" else found[::-1])

    def _note(self, pull: Pull, one: Any) -> dict[str, Any]:
        is_system = one.id in self.forge.system_notes
        return self.forge.shapes.note(pull, one, self.forge.users[one.user], system=is_system)

    def _note_text(self, request: Request) -> str:
        text: str = _body(request)["body"]
        if len(text) > 1_000_000 or "\0" in text:
            raise Denied(400, "body is too long or has a null byte")
        return text

    def write_note(self, request: Request) -> Response:
        user, repository, pull = self.one(request)
        self.forge.need(user, repository, "read")
        if repository.archived:
            raise Denied(403, "Forbidden", "archived")
        text = self._note_text(request)
        self.forge.obey(user, pull, text)
        return JSONResponse(self._note(pull, self.forge.comment(user, pull, text)), 201)

    def edit_note(self, request: Request) -> Response:
        user, repository, pull = self.one(request)
        text = self._note_text(request)
        self.forge.obey(user, pull, text)
        comment = self.forge.edit_comment(user, repository, request.path_params["note"], text)
        return JSONResponse(self._note(pull, comment))

    # --- commits

    def set_status(self, request: Request) -> Response:
        user, repository = self.place(request)
        said, sha = _body(request), request.path_params["sha"]
        name = said.get("name") or said.get("context") or "default"
        known = [one for one in repository.statuses.get(sha, []) if one.context == name]
        if known and known[-1].state == said["state"] == "pending":
            raise Denied(400, _ALREADY)
        if gitwork.tip(repository.folder, sha) != sha:
            raise Denied(404, "Commit Not Found", "missing")
        made = self.forge.status(
            user, repository, sha, said["state"], name, said.get("description", ""), said.get("target_url", "")
        )
        return JSONResponse(self.forge.shapes.status(made, sha, user, 1), 201)

    def statuses(self, request: Request) -> Response:
        _, repository = self.place(request)
        sha, name = request.path_params["sha"], request.query_params.get("name")
        latest = {one.context: one for one in repository.statuses.get(sha, []) if name in (None, one.context)}
        found = [self.forge.shapes.status(one, sha, self.forge.users[one.by], 1) for one in latest.values()]
        return self.paged(request, found)

    def behind(self, request: Request) -> Response:
        _, repository = self.place(request)
        sha = request.path_params["sha"]
        if gitwork.tip(repository.folder, sha) != sha:
            raise Denied(404, "Commit Not Found", "missing")
        found = []
        for pull in self.forge.pulls_of(repository):
            landed = pull.merge_sha or (pull.head_sha if pull.state == "merged" else "")
            added = gitwork.git(repository.folder, "rev-list", f"{pull.base_sha}..{landed or pull.head_sha}").split()
            if sha in added:
                found.append(self.forge.request_json(pull))
        return self.paged(request, found)

    # --- the project

    def get_project(self, request: Request) -> Response:
        user, repository = self.place(request)
        settings = {"merge_method": self.forge.merge_method, "squash_option": self.forge.squash_option}
        return JSONResponse(self.forge.shapes.project(repository, self.forge.level(user, repository), settings))

    def branch(self, request: Request) -> Response:
        _, repository = self.place(request)
        name = request.path_params["branch"]
        sha = gitwork.tip(repository.folder, f"refs/heads/{name}")
        if sha is None:
            raise Denied(404, "Branch Not Found", "missing")
        return JSONResponse({"name": name, "protected": name in repository.protection, "commit": {"id": sha}})

    def protection(self, request: Request) -> Response:
        user, repository = self.place(request)
        if not self.forge.shows_protection and not self.forge.may(user, repository, "admin"):
            raise Denied(403, "Forbidden", "no right")
        rule = repository.protection.get(request.path_params["branch"])
        if rule is None:
            raise Denied(404, "Not found", "missing")
        return JSONResponse(self.forge.shapes.rule(request.path_params["branch"], rule, 1))

    def approval_settings(self, request: Request) -> Response:
        self.place(request)
        if self.forge.approval_settings is None:
            raise Denied(404, "Not Found", "tier")
        return JSONResponse({"reset_approvals_on_push": False, "merge_requests_author_approval": False,
                             **self.forge.approval_settings})  # fmt: skip

    def approval_rules(self, request: Request) -> Response:
        _, repository = self.place(request)
        if self.forge.approval_settings is None:
            raise Denied(404, "Not Found", "tier")
        rules = [{"id": 1, "name": "All", "approvals_required": one.required_reviews}
                 for one in repository.protection.values()]  # fmt: skip
        return self.paged(request, rules)

    def member(self, request: Request) -> Response:
        _, repository = self.place(request)
        user = self.forge.users.get(request.path_params["user"])
        if user is None or user.deleted or not self.forge.level(user, repository):
            raise Denied(404, "Not found", "missing")
        level = self.forge.level(user, repository)
        return JSONResponse({**(self.forge.shapes.basic(user) or {}), "access_level": level, "expires_at": None})

    def events(self, request: Request) -> Response:
        _, repository = self.place(request)
        if request.query_params.get("action") != "pushed":
            raise Denied(400, "only pushes are kept here")
        found = [
            {
                "id": number, "project_id": repository.id, "action_name": "pushed to", "author_id": one.user,
                "author": self.forge.shapes.basic(self.forge.users[one.user]), "created_at": moment(one.at),
                "push_data": {
                    "commit_count": 1, "action": "pushed", "ref_type": "branch", "commit_from": one.old,
                    "commit_to": one.new, "ref": one.ref.removeprefix("refs/heads/"),
                },
            }
            for number, one in enumerate(self.forge.pushes, 1) if one.repository == repository.id
        ]  # fmt: skip
        return self.paged(request, found[::-1])

    def hooks(self, request: Request) -> Response:
        user, repository = self.place(request)
        self.forge.need(user, repository, "admin")
        return self.paged(request, [self.forge.shapes.hook(one, repository.id) for one in repository.hooks])

    def add_hook(self, request: Request) -> Response:
        user, repository = self.place(request)
        self.forge.need(user, repository, "admin")
        said = _body(request)
        signing = said.get("signing_token", "") if self.forge.signs_webhooks else ""
        events = [name for name, value in said.items() if name.endswith("_events") and value]
        hook = Hook(self.forge.new_id(), said["url"], signing or said.get("token", ""), events=events)
        repository.hooks.append(hook)
        return JSONResponse(self.forge.shapes.hook(hook, repository.id), 201)

    def delete_hook(self, request: Request) -> Response:
        user, repository = self.place(request)
        self.forge.need(user, repository, "admin")
        repository.hooks = [one for one in repository.hooks if one.id != request.path_params["hook"]]
        return Response(status_code=204)

    # --- accounts

    def own_user(self, request: Request) -> Response:
        user, _ = self.who(request)
        return JSONResponse(self.forge.shapes.user(user))

    def get_user(self, request: Request) -> Response:
        self.who(request)
        user = self.forge.users.get(request.path_params["user"])
        if user is None or user.deleted:
            raise Denied(404, "User Not Found", "missing")
        return JSONResponse(self.forge.shapes.user(user))

    def own_token(self, request: Request) -> Response:
        user, scopes = self.who(request)
        return JSONResponse({"id": 1, "scopes": sorted(scopes - {"git"}), "active": True, "user_id": user.id})


def routes(forge: GitLabDouble) -> list[BaseRoute]:
    """Longer paths first: the name of a project may hold slashes."""
    run, commit = Operations(forge), f"{_PROJECT}/repository/commits/{{sha}}"
    table = (
        ("GET", f"{_ONE}/approvals", run.approvals), ("GET", f"{_ONE}/reviewers", run.reviewers),
        ("GET", f"{_ONE}/versions", run.versions), ("PUT", f"{_ONE}/merge", run.merge),
        ("PUT", f"{_ONE}/notes/{{note:int}}", run.edit_note), ("GET", f"{_ONE}/notes", run.notes),
        ("POST", f"{_ONE}/notes", run.write_note), ("GET", _ONE, run.get_request), ("PUT", _ONE, run.put_request),
        ("GET", f"{commit}/statuses", run.statuses), ("GET", f"{commit}/merge_requests", run.behind),
        ("GET", f"{_PROJECT}/merge_requests", run.list_requests),
        ("POST", f"{_PROJECT}/merge_requests", run.open_request),
        ("POST", f"{_PROJECT}/statuses/{{sha}}", run.set_status),
        ("GET", f"{_PROJECT}/repository/branches/{{branch:path}}", run.branch),
        ("GET", f"{_PROJECT}/protected_branches/{{branch:path}}", run.protection),
        ("GET", f"{_PROJECT}/members/all/{{user:int}}", run.member), ("GET", f"{_PROJECT}/events", run.events),
        ("GET", f"{_PROJECT}/approvals", run.approval_settings),
        ("GET", f"{_PROJECT}/approval_rules", run.approval_rules),
        ("DELETE", f"{_PROJECT}/hooks/{{hook:int}}", run.delete_hook), ("GET", f"{_PROJECT}/hooks", run.hooks),
        ("POST", f"{_PROJECT}/hooks", run.add_hook), ("GET", _PROJECT, run.get_project),
        ("GET", "/user", run.own_user), ("GET", "/users/{user:int}", run.get_user),
        ("GET", "/personal_access_tokens/self", run.own_token),
    )  # fmt: skip
    return [Route(path, answer, methods=[method]) for method, path, answer in table]
