"""GitHub's operations, each as its page below https://docs.github.com/en/rest says.

Decides which status and which words an act of the state is answered with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.forges import gitwork
from tests.forges.github_json import moment
from tests.forges.state import Denied, Event, Hook, Protection, Pull, Repository

if TYPE_CHECKING:
    from tests.forges.github import GitHubDouble

_REPO = "/repos/{owner}/{repo}"
_ISSUE, _PULL = f"{_REPO}/issues/{{number:int}}", f"{_REPO}/pulls/{{number:int}}"
_STYLE_WORDS = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}
_MOST_TEXT = 65_536


def _body(request: Request) -> dict[str, Any]:
    """Endpoints run in threads; the body lies ready there."""
    found: dict[str, Any] = json.loads(anyio.from_thread.run(request.body) or b"{}")
    return found


def classic(repository: Repository, branch: str) -> Protection | None:
    """The older protection of a branch, which only administrators see."""
    rule = repository.protection.get(branch)
    return rule if rule is not None and rule.more.get("classic") else None


def style_words(style: str) -> str:
    """How GitHub says that a style is switched off."""
    return f"{_STYLE_WORDS[style]} are not allowed on this repository."


class Operations:
    """The operations over one double."""

    def __init__(self, forge: GitHubDouble) -> None:
        self.forge = forge

    # --- pull requests

    def list_pulls(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        query = request.query_params
        state = query.get("state", "open")
        found = [
            pull for pull in self.forge.pulls_of(repository)
            if state == "all" or (pull.state == "open") == (state == "open")
        ]  # fmt: skip
        if "base" in query:
            found = [pull for pull in found if pull.base == query["base"]]
        if "head" in query:
            owner, _, branch = query["head"].partition(":")
            found = [pull for pull in found if pull.branch == branch and self._owner(pull) == owner]
        moved = query.get("sort") == "updated"
        found.sort(key=lambda pull: (pull.updated_at if moved else pull.created_at, pull.number), reverse=True)
        if query.get("direction", "desc") == "asc":
            found.reverse()
        return self.forge.paged(request, [self.forge.simple_json(pull) for pull in found])

    def _owner(self, pull: Pull) -> str:
        head = self.forge.repositories.get(pull.head_repository or 0)
        return head.owner if head else ""

    def open_pull(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        said = _body(request)
        if len(said.get("body") or "") > _MOST_TEXT:
            raise Denied(422, "body is too long (maximum is 65536 characters)")
        owner, _, branch = said["head"].rpartition(":")
        try:
            pull = self.forge.open(
                user, repository, branch, said["base"], said["title"], said.get("body") or "",
                draft=bool(said.get("draft")),
            )  # fmt: skip
        except Denied as denied:
            words = {"exists": f"A pull request already exists for {owner or repository.owner}:{branch}."}
            if denied.reason in ("exists", "empty"):
                raise Denied(422, words.get(denied.reason, denied.message), denied.reason) from None
            raise
        return JSONResponse(self.forge.pull_json(pull), 201)

    def get_pull(self, request: Request) -> Response:
        _, _, pull = self.forge.the_pull(request)
        return self.forge.fresh(request, self.forge.pull_json(pull))

    def patch_pull(self, request: Request) -> Response:
        user, _, pull = self.forge.the_pull(request)
        said = _body(request)
        if said.get("state") == "closed":
            self.forge.close(user, pull)
        elif said.get("state") == "open" and pull.state != "open":
            self.forge.reopen(user, pull)
        words = {name: said[name] for name in ("title", "body", "base") if name in said}
        if words:
            self.forge.edit(user, pull, **words)
        return JSONResponse(self.forge.pull_json(pull))

    def merge_pull(self, request: Request) -> Response:
        user, _, pull = self.forge.the_pull(request)
        said = _body(request)
        style = said.get("merge_method", "merge")
        words = {
            "not mergeable": "Pull Request is not mergeable", "conflict": "Pull Request is not mergeable",
            "style": style_words(style),
        }  # fmt: skip
        try:
            if self.forge.settles_slowly:
                raise Denied(405, "", "not mergeable")
            sha = self.forge.merge(user, pull, style, head_guard=said.get("sha", ""))
        except Denied as denied:
            if denied.reason in words:
                raise Denied(405, words[denied.reason], denied.reason) from None
            raise
        return JSONResponse({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})

    def reviews(self, request: Request) -> Response:
        _, _, pull = self.forge.the_pull(request)
        return self.forge.paged(request, [self.forge.review_json(pull, one) for one in pull.reviews])

    # --- issues

    def get_issue(self, request: Request) -> Response:
        _, _, pull = self.forge.the_pull(request)
        closer = self.forge.users.get(pull.closed_by or pull.merged_by or 0)
        shown = None if closer is None or closer.deleted else self.forge.shapes.user(closer)
        state = "open" if pull.state == "open" else "closed"
        return self.forge.fresh(request, {"id": pull.id, "number": pull.number, "state": state, "closed_by": shown})

    def comments(self, request: Request) -> Response:
        _, _, pull = self.forge.the_pull(request)
        return self.forge.paged(request, [self.forge.comment_json(pull, one) for one in pull.comments])

    def write_comment(self, request: Request) -> Response:
        user, _, pull = self.forge.the_pull(request)
        text = _body(request)["body"]
        if len(text) > _MOST_TEXT:
            raise Denied(422, "body is too long (maximum is 65536 characters)")
        return JSONResponse(self.forge.comment_json(pull, self.forge.comment(user, pull, text)), 201)

    def edit_comment(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        number, text = int(request.path_params["id"]), _body(request)["body"]
        comment = self.forge.edit_comment(user, repository, number, text)
        pull = next(one for one in self.forge.pulls_of(repository) if comment in one.comments)
        return JSONResponse(self.forge.comment_json(pull, comment))

    def labels(self, request: Request) -> Response:
        _, repository, pull = self.forge.the_pull(request)
        return self.forge.paged(request, self._labels(repository, pull))

    def _labels(self, repository: Repository, pull: Pull) -> list[dict[str, Any]]:
        return [self.forge.shapes.label(name, repository.labels[name]) for name in pull.labels]

    def add_labels(self, request: Request) -> Response:
        user, repository, pull = self.forge.the_pull(request)
        self.forge.label(user, pull, [*pull.labels, *_body(request)["labels"]])
        return JSONResponse(self._labels(repository, pull))

    def remove_label(self, request: Request) -> Response:
        user, repository, pull = self.forge.the_pull(request)
        name = request.path_params["name"]
        if name not in pull.labels:
            raise Denied(404, "Label does not exist", "missing")
        self.forge.label(user, pull, [one for one in pull.labels if one != name])
        return JSONResponse(self._labels(repository, pull))

    # --- commits

    def set_status(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        said, sha = _body(request), request.path_params["sha"]
        description, context = said.get("description") or "", said.get("context", "default")
        if len(description) > 140:
            raise Denied(422, "description is too long (maximum is 140 characters)")
        made = self.forge.status(
            user, repository, sha, said["state"], context, description, said.get("target_url") or ""
        )
        return JSONResponse({**self.forge.shapes.status(made, 1), "creator": self.forge.shapes.user(user)}, 201)

    def statuses(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        sha = request.path_params["sha"]
        latest = {one.context: one for one in repository.statuses.get(sha, [])}
        place = f"{self.forge.api_url}/repos/{repository.full_name}/commits/{sha}"
        shown = [self.forge.shapes.status(one, number) for number, one in enumerate(latest.values(), 1)]
        state = "pending" if not latest else next(iter(latest.values())).state
        return self.forge.fresh(request, {
            "state": state, "statuses": shown, "sha": sha, "total_count": len(shown), "commit_url": place,
            "url": f"{place}/status", "repository": self.forge.shapes.repository(repository),
        })  # fmt: skip

    def pulls_behind(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        sha = request.path_params["sha"]
        if gitwork.tip(repository.folder, sha) != sha:
            raise Denied(422, f"No commit found for SHA: {sha}", "no commit")
        found = []
        for pull in self.forge.pulls_of(repository):
            if pull.state == "merged" and pull.merge_sha:
                added = gitwork.git(repository.folder, "rev-list", f"{pull.base_sha}..{pull.merge_sha}").split()
                if sha in added:
                    found.append(pull)
            elif pull.state == "open" and pull.head_sha == sha:
                found.append(pull)
        return self.forge.paged(request, [self.forge.simple_json(pull) for pull in found])

    # --- the repository

    def get_repository(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        may = {
            name: self.forge.may(user, repository, right)
            for name, right in (("pull", "read"), ("push", "write"), ("admin", "admin"), ("maintain", "admin"))
        }  # type: ignore[arg-type]
        return self.forge.fresh(request, {**self.forge.shapes.repository(repository), "permissions": may})

    def permission(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        self.forge.need(user, repository, "write")
        asked = self.forge.user(request.path_params["login"])
        right = repository.rights.get(asked.id) or ("none" if repository.private else "read")
        shown = {**self.forge.shapes.user(asked), "role_name": right}
        return self.forge.fresh(request, {"permission": right, "role_name": right, "user": shown})

    def branch(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        name = request.path_params["branch"]
        sha = gitwork.tip(repository.folder, f"refs/heads/{name}")
        if sha is None:
            raise Denied(404, "Branch not found", "missing")
        is_protected = name in repository.protection
        return self.forge.fresh(request, {"name": name, "commit": {"sha": sha}, "protected": is_protected})

    def rules(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        name = request.path_params["branch"]
        rule = repository.protection.get(name)
        found: list[dict[str, Any]] = []
        if rule is not None and classic(repository, name) is None:
            source = {"ruleset_source_type": "Repository", "ruleset_source": repository.full_name, "ruleset_id": 7}
            asked = {
                "required_approving_review_count": rule.required_reviews, "require_code_owner_review": False,
                "dismiss_stale_reviews_on_push": rule.dismiss_stale, "require_last_push_approval": False,
                "required_review_thread_resolution": False,
            }  # fmt: skip
            found = [{"type": "deletion", **source}, {"type": "pull_request", "parameters": asked, **source}]
            found += [] if rule.force_push else [{"type": "non_fast_forward", **source}]
        return self.forge.paged(request, found)

    def protection(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        if not self.forge.may(user, repository, "admin"):
            raise Denied(404, "Not Found", "missing")
        name = request.path_params["branch"]
        rule = classic(repository, name)
        if rule is None:
            raise Denied(404, "Branch not protected", "missing")
        place = f"{self.forge.api_url}/repos/{repository.full_name}/branches/{name}/protection"
        said: dict[str, Any] = {
            "url": place, "enforce_admins": {"url": place, "enabled": not rule.admins_bypass},
            "allow_force_pushes": {"enabled": rule.force_push}, "allow_deletions": {"enabled": False},
        }  # fmt: skip
        if rule.required_reviews:
            said["required_pull_request_reviews"] = {
                "url": place, "dismiss_stale_reviews": rule.dismiss_stale, "require_code_owner_reviews": False,
                "required_approving_review_count": rule.required_reviews, "require_last_push_approval": False,
            }  # fmt: skip
        return self.forge.fresh(request, said)

    def activity(self, request: Request) -> Response:
        _, repository = self.forge.place(request)
        found = [one for one in self.forge.activity if one.repository == repository.id]
        if "ref" in request.query_params:
            found = [one for one in found if one.ref == request.query_params["ref"]]
        shown = []
        for one in reversed(found):
            actor = self.forge.users[one.actor]
            shown.append({
                "id": one.id, "node_id": f"A_{one.id}", "before": one.before, "after": one.after, "ref": one.ref,
                "timestamp": moment(one.at), "activity_type": one.kind,
                "actor": None if actor.deleted else self.forge.shapes.user(actor),
            })  # fmt: skip
        return self.forge.paged(request, shown)

    def hooks(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        if not self.forge.may(user, repository, "admin"):
            raise Denied(404, "Not Found", "missing")
        return self.forge.paged(request, [self.forge.shapes.hook(one) for one in repository.hooks])

    def add_hook(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        if not self.forge.may(user, repository, "admin"):
            raise Denied(404, "Not Found", "missing")
        said = _body(request)
        config = said["config"]
        if config.get("content_type") != "json":
            raise Denied(422, "this double sends JSON alone")
        if any(one.url == config["url"] for one in repository.hooks):
            raise Denied(422, "Hook already exists on this repository")
        hook = Hook(
            self.forge.new_id(), config["url"], config.get("secret", ""), said.get("active", True),
            said.get("events", ["push"]),
        )  # fmt: skip
        repository.hooks.append(hook)
        self.forge.notify(Event("ping", repository, user, self.forge.now(), ref=str(hook.id)))
        return JSONResponse(self.forge.shapes.hook(hook), 201)

    def drop_hook(self, request: Request) -> Response:
        user, repository = self.forge.place(request)
        number = request.path_params["hook"]
        if not self.forge.may(user, repository, "admin") or all(one.id != number for one in repository.hooks):
            raise Denied(404, "Not Found", "missing")
        repository.hooks = [one for one in repository.hooks if one.id != number]
        return Response(status_code=204)

    # --- accounts

    def own_user(self, request: Request) -> Response:
        return self.forge.fresh(request, self.forge.shapes.user(self.forge.who(request)[0]))

    def get_user(self, request: Request) -> Response:
        self.forge.signed_app(request)
        return self.forge.fresh(request, self.forge.shapes.user(self.forge.user(request.path_params["login"])))

    def own_app(self, request: Request) -> Response:
        app = self.forge.signed_app(request)
        return self.forge.fresh(request, {"id": app.id, "slug": app.slug, "name": app.slug})

    def app_token(self, request: Request) -> Response:
        app = self.forge.signed_app(request)
        if app.installation != int(request.path_params["installation"]):
            raise Denied(404, "Not Found", "missing")
        return JSONResponse(self.forge.installation_token(app), 201)


def routes(forge: GitHubDouble) -> Sequence[BaseRoute]:
    """Literal paths before those that hold anything."""
    run = Operations(forge)
    table = (
        ("GET", f"{_REPO}/pulls", run.list_pulls), ("POST", f"{_REPO}/pulls", run.open_pull),
        ("GET", _PULL, run.get_pull), ("PATCH", _PULL, run.patch_pull), ("PUT", f"{_PULL}/merge", run.merge_pull),
        ("GET", f"{_PULL}/reviews", run.reviews), ("GET", _ISSUE, run.get_issue),
        ("GET", f"{_ISSUE}/comments", run.comments), ("POST", f"{_ISSUE}/comments", run.write_comment),
        ("PATCH", f"{_REPO}/issues/comments/{{id:int}}", run.edit_comment),
        ("GET", f"{_ISSUE}/labels", run.labels), ("POST", f"{_ISSUE}/labels", run.add_labels),
        ("DELETE", f"{_ISSUE}/labels/{{name:path}}", run.remove_label),
        ("POST", f"{_REPO}/statuses/{{sha}}", run.set_status), ("GET", f"{_REPO}/commits/{{sha}}/status", run.statuses),
        ("GET", f"{_REPO}/commits/{{sha}}/pulls", run.pulls_behind), ("GET", _REPO, run.get_repository),
        ("GET", f"{_REPO}/collaborators/{{login}}/permission", run.permission),
        ("GET", f"{_REPO}/branches/{{branch:path}}/protection", run.protection),
        ("GET", f"{_REPO}/branches/{{branch:path}}", run.branch),
        ("GET", f"{_REPO}/rules/branches/{{branch:path}}", run.rules), ("GET", f"{_REPO}/activity", run.activity),
        ("GET", f"{_REPO}/hooks", run.hooks), ("POST", f"{_REPO}/hooks", run.add_hook),
        ("DELETE", f"{_REPO}/hooks/{{hook:int}}", run.drop_hook),
        ("GET", "/user", run.own_user), ("GET", "/users/{login}", run.get_user), ("GET", "/app", run.own_app),
        ("POST", "/app/installations/{installation}/access_tokens", run.app_token),
    )  # fmt: skip
    return [Route(path, answer, methods=[method]) for method, path, answer in table]
