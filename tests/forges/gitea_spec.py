"""Gitea's and Forgejo's descriptions of their APIs: the servers' own files where they lie beside us, else by hand.

Decides that a request must please both at once, since gitmedic does not ask which of the two it speaks to. The reduced
schemas say what the adapter reads and what a request may hold, from the page `/api/swagger` of a server. What a server
answers and its own file leaves out is put right here, each seen on a running Gitea.
"""

from __future__ import annotations

from typing import Any

from tests.forges.schema import Spec

_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_MAYBE_TEXT = {"type": "string", "nullable": True}
_REPO = "/repos/{owner}/{repo}"
_PULL, _ISSUE = f"{_REPO}/pulls/{{index}}", f"{_REPO}/issues/{{index}}"
_STYLES = ["merge", "rebase", "rebase-merge", "squash", "fast-forward-only", "manually-merged"]


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_ERROR = _object({"message": _TEXT}, url=_TEXT)
_USER = _object({"login": _TEXT, "id": _NUMBER})
_SIDE = _object({"label": _TEXT, "ref": _TEXT, "sha": _TEXT, "repo_id": _NUMBER})
_PULL_SCHEMA = _object({
    "id": _NUMBER, "number": _NUMBER, "html_url": _TEXT, "state": {"type": "string", "enum": ["open", "closed"]},
    "title": _TEXT, "user": _USER, "draft": _FLAG, "merged": _FLAG, "merged_at": _MAYBE_TEXT, "created_at": _TEXT,
    "updated_at": _TEXT, "closed_at": _MAYBE_TEXT, "merge_commit_sha": _MAYBE_TEXT, "base": _SIDE, "head": _SIDE,
})  # fmt: skip
_REVIEW = _object({
    "id": _NUMBER, "user": _USER, "state": _TEXT, "commit_id": _TEXT, "stale": _FLAG, "dismissed": _FLAG,
    "official": _FLAG, "submitted_at": _TEXT, "updated_at": _TEXT,
})  # fmt: skip
_COMMENT = _object({"id": _NUMBER, "body": _TEXT, "user": _USER})
_LABEL = _object({"id": _NUMBER, "name": _TEXT, "color": _TEXT})
_STATUS = _object({"id": _NUMBER, "status": _TEXT, "context": _TEXT, "description": _TEXT, "target_url": _TEXT})
_HOOK = _object({"id": _NUMBER, "type": _TEXT, "active": _FLAG, "events": _list(_TEXT), "config": {"type": "object"}})
_EVENT = _object({"id": _NUMBER, "type": _TEXT, "user": _USER, "body": _TEXT, "created_at": _TEXT})
_REPOSITORY = _object({
    "id": _NUMBER, "full_name": _TEXT, "private": _FLAG, "archived": _FLAG, "default_branch": _TEXT,
    "permissions": _object({"admin": _FLAG, "push": _FLAG, "pull": _FLAG}),
})  # fmt: skip


def _operation(
    status: int, answer: dict[str, Any] | None, *others: int, query: tuple[str, ...] = (),
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    said = {status: answer, 404: _ERROR, **dict.fromkeys(others, _ERROR)}
    found: dict[str, Any] = {
        "parameters": [{"name": name, "in": "query", "schema": {}} for name in query],
        "responses": {
            str(number): {"content": {"application/json": {"schema": schema}}} if schema else {}
            for number, schema in said.items()
        },
    }
    if body is not None:
        found["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return found


_PAGES = ("page", "limit")
_REDUCED: dict[str, dict[str, Any]] = {
    "/user": {"get": _operation(200, _USER)},
    _REPO: {"get": _operation(200, _REPOSITORY)},
    f"{_REPO}/pulls": {
        "get": _operation(200, _list(_PULL_SCHEMA), query=("state", "sort", *_PAGES)),
        "post": _operation(201, _PULL_SCHEMA, 403, 409, 422, 423, body=_object(
            {}, head=_TEXT, base=_TEXT, title=_TEXT, body=_TEXT, labels=_list(_NUMBER))),
    },
    _PULL: {
        "get": _operation(200, _PULL_SCHEMA),
        "patch": _operation(201, _PULL_SCHEMA, 403, 409, 412, 422, body=_object(
            {}, title=_TEXT, body=_TEXT, base=_TEXT, state={"type": "string", "enum": ["open", "closed"]})),
    },
    f"{_REPO}/pulls/{{base}}/{{head}}": {"get": _operation(200, _PULL_SCHEMA)},
    f"{_PULL}/merge": {
        "post": _operation(200, None, 403, 405, 409, 423, body=_object(
            {"do": {"type": "string", "enum": _STYLES}}, Do={"type": "string", "enum": _STYLES}, head_commit_id=_TEXT,
            merge_commit_id=_TEXT, delete_branch_after_merge=_FLAG, force_merge=_FLAG,
            merge_when_checks_succeed=_FLAG)),
    },
    f"{_PULL}/reviews": {"get": _operation(200, _list(_REVIEW), query=_PAGES)},
    f"{_REPO}/commits/{{sha}}/pull": {"get": _operation(200, _PULL_SCHEMA)},
    f"{_REPO}/commits/{{ref}}/status": {
        "get": _operation(200, _object({"state": _TEXT, "statuses": _list(_STATUS)}), query=_PAGES)},
    f"{_REPO}/statuses/{{sha}}": {
        "post": _operation(201, _STATUS, 422, body=_object(
            {}, context=_TEXT, description=_TEXT, target_url=_TEXT,
            state={"type": "string", "enum": ["pending", "success", "error", "failure", "warning"]})),
    },
    f"{_ISSUE}/comments": {
        "get": _operation(200, _list(_COMMENT), query=("since", "before")),
        "post": _operation(201, _COMMENT, 403, 423, body=_object({"body": _TEXT})),
    },
    f"{_REPO}/issues/comments/{{id}}": {"patch": _operation(200, _COMMENT, 403, body=_object({"body": _TEXT}))},
    f"{_ISSUE}/timeline": {
        "get": _operation(200, {**_list(_EVENT), "nullable": True}, query=("since", "before", *_PAGES))},
    f"{_ISSUE}/labels": {
        "get": _operation(200, _list(_LABEL)),
        "post": _operation(200, _list(_LABEL), 403, body=_object({}, labels={"type": "array"})),
    },
    f"{_ISSUE}/labels/{{id}}": {"delete": _operation(204, None, 403, 422)},
    f"{_REPO}/labels": {
        "get": _operation(200, _list(_LABEL), query=_PAGES),
        "post": _operation(201, _LABEL, 422, body=_object(
            {"name": _TEXT, "color": _TEXT}, description=_TEXT, exclusive=_FLAG)),
    },
    f"{_REPO}/branches/{{branch}}": {
        "get": _operation(200, _object({"name": _TEXT, "protected": _FLAG, "required_approvals": _NUMBER}))},
    f"{_REPO}/branch_protections": {
        "get": _operation(200, _list(_object({"rule_name": _TEXT, "dismiss_stale_approvals": _FLAG})))},
    f"{_REPO}/collaborators/{{collaborator}}/permission": {
        "get": _operation(200, _object({"permission": _TEXT, "user": _USER}), 403)},
    f"{_REPO}/assignees": {"get": _operation(200, _list(_USER))},
    f"{_REPO}/teams": {"get": _operation(200, _list(_object({"id": _NUMBER, "permission": _TEXT})), 405)},
    f"{_REPO}/hooks": {
        "get": _operation(200, _list(_HOOK), query=_PAGES),
        "post": _operation(201, _HOOK, 422, body=_object(
            {"type": {"type": "string", "enum": ["gitea", "gogs"]}, "config": {"type": "object"}}, active=_FLAG,
            events=_list(_TEXT), branch_filter=_TEXT)),
    },
    f"{_REPO}/hooks/{{id}}": {"delete": _operation(204, None)},
}  # fmt: skip


class Both(Spec):
    """Gitea's description; what is asked must please Forgejo's as well, where that one knows the operation."""

    forgejo: Spec

    def check_request(self, method: str, path: str, body: Any) -> None:
        """Held against both."""
        super().check_request(method, path, body)
        if self.forgejo.operation(method, path) is not None:
            self.forgejo.check_request(method, path, body)
            self.violations += [f"forgejo: {one}" for one in self.forgejo.violations]
            self.forgejo.violations.clear()


def gitea_spec(*, reduced: bool = False) -> Spec:
    """All that the double answers; `reduced`: as if the servers' own files were not there."""
    document: dict[str, Any] = {"openapi": "3.0.3", "paths": _REDUCED, "components": {"schemas": {}}}
    suffix = ".none" if reduced else ""
    both = Both.find(f"gitea-openapi3.json{suffix}", document, nulls=True, amend=_put_right)
    assert isinstance(both, Both)
    both.forgejo = Spec.find(f"forgejo-swagger2.json{suffix}", document, nulls=True, amend=_both_spellings)
    return both


def _put_right(document: dict[str, Any]) -> None:
    schemas, paths = document["components"]["schemas"], document["paths"]
    schemas["MergePullRequestOption"]["properties"]["Do"] = {"type": "string", "enum": _STYLES}
    said = {"content": {"application/json": {"schema": _ERROR}}}
    paths[f"{_REPO}/teams"]["get"]["responses"]["405"] = said  # of a repository that a person owns
    for operation in (paths[f"{_REPO}/hooks"]["post"], paths[f"{_REPO}/statuses/{{sha}}"]["post"]):
        operation["responses"]["422"] = said
    # archived: said of few operations, true of all that write
    for methods in paths.values():
        for method in ("post", "patch", "put", "delete"):
            if method in methods:
                methods[method]["responses"].setdefault("423", said)
    timeline = paths[f"{_ISSUE}/timeline"]["get"]["responses"]
    timeline["200"] = {"content": {"application/json": {"schema": {
        "type": "array", "items": {"$ref": "#/components/schemas/TimelineComment"}, "nullable": True}}}}  # fmt: skip


def _both_spellings(document: dict[str, Any]) -> None:
    name = next(name for name in ("MergePullRequestOption", "MergePullRequestForm") if name in document["definitions"])
    schema = document["definitions"][name]
    schema["properties"]["do"] = schema["properties"]["Do"]
