"""The operations of Gitea and Forgejo that gitmedic asks for, each as `/api/swagger` of a server describes it.

Decides which status and which words an act of the state is answered with, and that most lists carry no `Link`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.forges import gitea_json, gitwork
from tests.forges.state import Denied, Hook, Pull, Repository, User

if TYPE_CHECKING:
    from tests.forges.gitea import GiteaDouble

_REPO = "/repos/{owner}/{repo}"
_PULL, _ISSUE = f"{_REPO}/pulls/{{number:int}}", f"{_REPO}/issues/{{number:int}}"
_STYLES = {"merge": "merge", "squash": "squash", "rebase": "rebase", "rebase-merge": "rebase"}


def _body(request: Request) -> dict[str, Any]:
    """Endpoints run in threads; the body lies ready there."""
    found: dict[str, Any] = json.loads(anyio.from_thread.run(request.body) or b"{}")
    return found


class Operations:
    """The operations over one double."""

    def __init__(self, forge: GiteaDouble) -> None:
        self.forge = forge

    # --- who asks

    def who(self, request: Request, scope: str) -> User:
        """Whose token it is; what it may do is its scopes'."""
        found = self.forge.bearer(self.forge.token_in(request))
        if found is None:
            raise Denied(401, "invalid username, password or token", "token")
        user, scopes = found
        level = "read" if request.method == "GET" else "write"
        if not scopes & {"git", f"write:{scope}", f"{level}:{scope}"}:
            raise Denied(403, f"token does not have at least one of required scope(s): [{level}:{scope}]", "scope")
        return user

    def place(self, request: Request, scope: str = "repository") -> tuple[User, Repository]:
        """Who asks, and the repository of the path."""
        user = self.who(request, scope)
        repository = self.forge.at(f"{request.path_params['owner']}/{request.path_params['repo']}")
        self.forge.need(user, repository, "read")
        return user, repository

    def the_pull(self, request: Request, scope: str = "repository") -> tuple[User, Repository, Pull]:
        """Who asks, and the pull request of the path."""
        user, repository = self.place(request, scope)
        return user, repository, self.forge.pull(repository, int(request.path_params["number"]))

    def administered(self, request: Request) -> tuple[User, Repository]:
        """For administrators of the repository alone."""
        user, repository = self.place(request)
        if self.forge.rank(user, repository) < 3:
            raise Denied(403, "user should be an owner or a collaborator with admin write of a repository", "no right")
        return user, repository

    def paged(self, request: Request, items: Sequence[Any], *, link: bool = False) -> Response:
        """One page with the count of all; only some lists carry a `Link`."""
        query = dict(request.query_params)
        size, page = min(int(query.get("limit", 30)), self.forge.most_per_page), int(query.get("page", 1))
        headers = {"x-total-count": str(len(items))}
        if link and page * size < len(items):
            following = urlencode({**query, "page": page + 1})
            headers["link"] = f'<{self.forge.url}{request.scope["raw_path"].decode()}?{following}>; rel="next"'
        return JSONResponse(list(items[(page - 1) * size : page * size]), headers=headers)

    # --- pull requests

    def list_pulls(self, request: Request) -> Response:
        user, repository = self.place(request)
        state, moved = request.query_params.get("state", "open"), request.query_params.get("sort") == "recentupdate"
        found = [
            pull for pull in self.forge.pulls_of(repository)
            if state == "all" or (pull.state == "open") == (state == "open")
        ]  # fmt: skip
        found.sort(key=lambda pull: (pull.updated_at if moved else pull.created_at, pull.number), reverse=True)
        return self.paged(request, [self.forge.pull_json(pull, user, in_list=True) for pull in found], link=True)

    def open_pull(self, request: Request) -> Response:
        user, repository = self.place(request)
        said = _body(request)
        if self.forge.learns_late:
            self.forge.learns_late -= 1
            raise Denied(404, "not found", "missing")
        try:
            pull = self.forge.open(user, repository, said["head"], said["base"], said["title"], said.get("body") or "")
        except Denied as denied:
            if denied.reason == "exists":
                raise Denied(409, "pull request already exists for these targets", "exists") from None
            if denied.reason == "no branch":
                raise Denied(404, "The target couldn't be found.", "missing") from None
            raise
        names = {number: name for name, number in repository.labels.items()}
        if labels := [names[number] for number in said.get("labels") or () if number in names]:
            self.forge.label(user, pull, labels)
        return JSONResponse(self.forge.pull_json(pull, user), 201)

    def get_pull(self, request: Request) -> Response:
        user, _, pull = self.the_pull(request)
        return JSONResponse(self.forge.pull_json(pull, user))

    def find_pull(self, request: Request) -> Response:
        """The oldest of these branches, whatever became of it."""
        user, repository = self.place(request)
        asked = (request.path_params["base"], request.path_params["head"], repository.id)
        for pull in self.forge.pulls_of(repository):
            if (pull.base, pull.branch, pull.head_repository) == asked:
                return JSONResponse(self.forge.pull_json(pull, user))
        raise Denied(404, "not found", "missing")

    def patch_pull(self, request: Request) -> Response:
        user, _, pull = self.the_pull(request)
        said = _body(request)
        if "state" in said and pull.state == "merged":
            raise Denied(412, "cannot change state of this pull request, it was already merged", "merged")
        if said.get("state") == "closed":
            self.forge.close(user, pull)
        elif said.get("state") == "open":
            self.forge.reopen(user, pull)
        words = {name: said[name] for name in ("title", "body", "base") if name in said}
        if words:
            self.forge.edit(user, pull, **words)
        return JSONResponse(self.forge.pull_json(pull, user), 201)

    def merge_pull(self, request: Request) -> Response:
        user, _, pull = self.the_pull(request)
        said = _body(request)
        style = said.get("do") or said.get("Do") or "merge"
        if self.forge.settles_slowly:
            self.forge.settles_slowly -= 1
            raise Denied(405, "Please try again later", "settling")
        if said.get("merge_when_checks_succeed"):
            return Response(status_code=201)
        if pull.state == "closed":
            raise Denied(404, "not found", "closed")
        words = {
            "no right": (405, "User not allowed to merge PR"), "head moved": (409, "head out of date"),
            "style": (405, f"{style} is not allowed an allowed merge style for this repository"),
            "not mergeable": (405, "The PR is already merged" if pull.state == "merged" else "Work in progress PRs"),
        }  # fmt: skip
        try:
            if style == "manually-merged":
                self.forge.call_merged(user, pull, said.get("merge_commit_id", ""))
            elif said.get("force_merge"):
                self.forge.force_merge(user, pull)
            else:
                self.forge.merge(user, pull, _STYLES[style], head_guard=said.get("head_commit_id", ""))  # type: ignore[arg-type]
        except Denied as denied:
            status, message = words.get(denied.reason, (denied.status, denied.message))
            raise Denied(status, message, denied.reason) from None
        return Response(status_code=200)

    def reviews(self, request: Request) -> Response:
        """A page, less what others have not sent off yet; that is counted all the same."""
        user, _, pull = self.the_pull(request)
        hidden = {one.id for one in pull.reviews if one.state == "pending" and one.user != user.id}
        found = self.paged(request, [self.forge.review_json(pull, one) for one in pull.reviews])
        shown = [one for one in json.loads(bytes(found.body)) if one["id"] not in hidden]
        return JSONResponse(shown, headers={"x-total-count": found.headers["x-total-count"]})

    def by_commit(self, request: Request) -> Response:
        user, repository = self.place(request)
        for pull in self.forge.pulls_of(repository):
            if pull.state == "merged" and pull.merge_sha == request.path_params["sha"]:
                return JSONResponse(self.forge.pull_json(pull, user))
        raise Denied(404, "pull request does not exist", "missing")

    # --- below a pull request

    def comments(self, request: Request) -> Response:
        """All of them, whatever page is asked for; of a number that is not there, an error of the server's own."""
        _, repository = self.place(request, "issue")
        if (repository.id, request.path_params["number"]) not in self.forge.pulls:
            raise Denied(500, "")
        pull = self.forge.pull(repository, request.path_params["number"])
        shown = [self.forge.comment_json(pull, one) for one in pull.comments]
        return JSONResponse(shown, headers={"x-total-count": str(len(shown))})

    def add_comment(self, request: Request) -> Response:
        user, _, pull = self.the_pull(request, "issue")
        return JSONResponse(self.forge.comment_json(pull, self.forge.comment(user, pull, _body(request)["body"])), 201)

    def edit_comment(self, request: Request) -> Response:
        user, repository = self.place(request, "issue")
        made = self.forge.edit_comment(user, repository, request.path_params["id"], _body(request)["body"])
        pull = next(one for one in self.forge.pulls_of(repository) if made in one.comments)
        return JSONResponse(self.forge.comment_json(pull, made))

    def timeline(self, request: Request) -> Response:
        """Pages of what happened, less what is hidden; `null` when nothing is left of a page."""
        _, _, pull = self.the_pull(request, "issue")
        query = request.query_params
        since = datetime.fromisoformat(query["since"]) if "since" in query else None
        lines = [one for one in self.forge.timelines.get(pull.id, []) if since is None or one.at >= since]
        size, page = min(int(query.get("limit", 30)), self.forge.most_per_page), int(query.get("page", 1))
        shown = [
            self.forge.timeline_json(pull, one) for one in lines[(page - 1) * size : page * size] if not one.hidden
        ]
        return JSONResponse(shown or None, headers={"x-total-count": str(len(shown))})

    def labels_of(self, request: Request) -> Response:
        _, repository, pull = self.the_pull(request, "issue")
        return JSONResponse(self._labels(repository, pull.labels))

    def add_labels(self, request: Request) -> Response:
        user, repository, pull = self.the_pull(request, "issue")
        names = {number: name for name, number in repository.labels.items()}
        self.forge.label(user, pull, [*pull.labels, *(names[one] for one in _body(request)["labels"] if one in names)])
        return JSONResponse(self._labels(repository, pull.labels))

    def remove_label(self, request: Request) -> Response:
        user, repository, pull = self.the_pull(request, "issue")
        left = [name for name in pull.labels if repository.labels[name] != request.path_params["id"]]
        if len(left) == len(pull.labels):
            raise Denied(404, f"label does not exist [label_id: {request.path_params['id']}]", "missing")
        self.forge.label(user, pull, left)
        return Response(status_code=204)

    def _labels(self, repository: Repository, names: Sequence[str]) -> list[dict[str, Any]]:
        page = f"{self.forge.url}/{repository.full_name}"
        return [gitea_json.label(name, repository.labels[name], page) for name in names]

    # --- the repository

    def repository(self, request: Request) -> Response:
        user, repository = self.place(request)
        return JSONResponse(self.forge.repository_json(repository, user))

    def branch(self, request: Request) -> Response:
        user, repository = self.place(request)
        name = request.path_params["branch"]
        sha = gitwork.tip(repository.folder, f"refs/heads/{name}")
        if sha is None:
            raise Denied(404, "not found", "missing")
        rule = repository.protection.get(name)
        shown = name if rule and self.forge.rank(user, repository) > 2 and not self.forge.is_forgejo else ""
        return JSONResponse(gitea_json.branch(name, sha, rule, shown))

    def protections(self, request: Request) -> Response:
        _, repository = self.administered(request)
        return JSONResponse([
            gitea_json.protection(name, rule, is_forgejo=self.forge.is_forgejo)
            for name, rule in repository.protection.items()
        ])  # fmt: skip

    def permission(self, request: Request) -> Response:
        user, repository = self.place(request)
        login = request.path_params["user"]
        if self.forge.rank(user, repository) < 3 and user.login != login:
            raise Denied(403, "Only admins can query all permissions, repo admins can query all repo permissions")
        asked = self.forge.user(login)
        word = ("none", "read", "write", "admin")[self.forge.rank(asked, repository)]
        return JSONResponse({"permission": word, "role_name": word, "user": self.forge.user_json(asked.id)})

    def assignees(self, request: Request) -> Response:
        """Who may write; of an organisation's repository also whoever is in a team that only reads it."""
        _, repository = self.place(request)
        ids = {id_ for id_, right in repository.rights.items() if right != "read"}
        ids |= {id_ for team in self.forge.teams.get(repository.id, ()) for id_ in team.members}
        return JSONResponse([self.forge.user_json(id_) for id_ in sorted(ids) if not self.forge.users[id_].deleted])

    def teams(self, request: Request) -> Response:
        _, repository = self.place(request)
        if repository.id not in self.forge.teams:
            raise Denied(405, "repo is not owned by an organization")
        return JSONResponse([
            {"id": one.id, "name": one.name, "description": "", "permission": one.permission, "organization": None,
             "includes_all_repositories": False, "can_create_org_repo": False, "units": ["repo.code"],
             "units_map": {"repo.code": one.permission}}
            for one in self.forge.teams[repository.id]
        ])  # fmt: skip

    def labels(self, request: Request) -> Response:
        _, repository = self.place(request, "issue")
        return self.paged(request, self._labels(repository, list(repository.labels)))

    def make_label(self, request: Request) -> Response:
        user, repository = self.place(request, "issue")
        self.forge.need(user, repository, "write")
        name = _body(request)["name"]
        repository.labels[name] = self.forge.new_id()
        return JSONResponse(self._labels(repository, [name])[0], 201)

    def statuses(self, request: Request) -> Response:
        user, repository = self.place(request)
        sha = request.path_params["sha"]
        latest = {one.context: one for one in repository.statuses.get(sha, ())}
        url = f"{self.forge.url}/api/v1/repos/{repository.full_name}/statuses/{sha}"
        shown = [gitea_json.status(one, 1, self.forge.user_json(one.by), url) for one in latest.values()]
        return JSONResponse({
            "state": "pending", "sha": sha, "total_count": len(shown), "statuses": shown or None, "commit_url": url,
            "url": url, "repository": self.forge.repository_json(repository, user),
        })  # fmt: skip

    def set_status(self, request: Request) -> Response:
        user, repository = self.place(request)
        said, sha = _body(request), request.path_params["sha"]
        made = self.forge.status(
            user, repository, sha, said["state"], said["context"], said["description"], said.get("target_url", "")
        )
        url = f"{self.forge.url}/api/v1/repos/{repository.full_name}/statuses/{sha}"
        return JSONResponse(gitea_json.status(made, 1, self.forge.user_json(made.by), url), 201)

    def hooks(self, request: Request) -> Response:
        _, repository = self.administered(request)
        return self.paged(request, [gitea_json.hook(one) for one in repository.hooks])

    def make_hook(self, request: Request) -> Response:
        _, repository = self.administered(request)
        said = _body(request)
        if not self.forge.calls_outside:
            raise Denied(
                422, "webhook can only call allowed HTTP servers (check your webhook.ALLOWED_HOST_LIST setting)"
            )
        config = said["config"]
        hook = Hook(self.forge.new_id(), config["url"], config.get("secret", ""), said["active"], list(said["events"]))
        repository.hooks.append(hook)
        return JSONResponse(gitea_json.hook(hook), 201)

    def drop_hook(self, request: Request) -> Response:
        _, repository = self.administered(request)
        number = request.path_params["hook"]
        if all(one.id != number for one in repository.hooks):
            raise Denied(404, "Not Found", "missing")
        repository.hooks = [one for one in repository.hooks if one.id != number]
        return Response(status_code=204)

    def me(self, request: Request) -> Response:
        return JSONResponse(self.forge.user_json(self.who(request, "user").id))


def routes(forge: GiteaDouble) -> list[BaseRoute]:
    """All of them."""
    do = Operations(forge)
    table: list[tuple[str, str, Callable[[Request], Response]]] = [
        ("GET", "/user", do.me), ("GET", _REPO, do.repository),
        ("GET", f"{_REPO}/pulls", do.list_pulls), ("POST", f"{_REPO}/pulls", do.open_pull),
        ("GET", _PULL, do.get_pull), ("PATCH", _PULL, do.patch_pull), ("POST", f"{_PULL}/merge", do.merge_pull),
        ("GET", f"{_PULL}/reviews", do.reviews), ("GET", f"{_REPO}/pulls/{{base}}/{{head:path}}", do.find_pull),
        ("GET", f"{_REPO}/commits/{{sha}}/pull", do.by_commit), ("GET", f"{_REPO}/commits/{{sha}}/status", do.statuses),
        ("POST", f"{_REPO}/statuses/{{sha}}", do.set_status),
        ("GET", f"{_ISSUE}/comments", do.comments), ("POST", f"{_ISSUE}/comments", do.add_comment),
        ("PATCH", f"{_REPO}/issues/comments/{{id:int}}", do.edit_comment), ("GET", f"{_ISSUE}/timeline", do.timeline),
        ("GET", f"{_ISSUE}/labels", do.labels_of), ("POST", f"{_ISSUE}/labels", do.add_labels),
        ("DELETE", f"{_ISSUE}/labels/{{id:int}}", do.remove_label),
        ("GET", f"{_REPO}/labels", do.labels), ("POST", f"{_REPO}/labels", do.make_label),
        ("GET", f"{_REPO}/branches/{{branch:path}}", do.branch), ("GET", f"{_REPO}/branch_protections", do.protections),
        ("GET", f"{_REPO}/collaborators/{{user}}/permission", do.permission),
        ("GET", f"{_REPO}/assignees", do.assignees), ("GET", f"{_REPO}/teams", do.teams),
        ("GET", f"{_REPO}/hooks", do.hooks), ("POST", f"{_REPO}/hooks", do.make_hook),
        ("DELETE", f"{_REPO}/hooks/{{hook:int}}", do.drop_hook),
    ]  # fmt: skip
    return [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]
