"""GitHub's description of its API: the vendor's slice where it lies beside us, and by hand what it has not.

Decides nothing. The reduced schemas say what the adapter reads and what a request may hold, each from its page below
https://docs.github.com/en/rest. The vendor's own slice errs in three ways, which are put right here: the examples of
its pull requests have teams without the field `type` that the schema demands, the head's repository of a deleted fork
is null, and 404 is an answer of every path below a repository.
"""

from __future__ import annotations

import json
from typing import Any

from tests.forges.schema import Spec, spec_folder

_FILE = "github-openapi3-slice.json"
_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_MAYBE_TEXT = {"type": "string", "nullable": True}
_PAGES = ("per_page", "page")


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/gm-{name}"}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "object", "nullable": True, "enum": [None]}]}


_ERROR = _object({"message": _TEXT}, documentation_url=_TEXT, errors={"type": "array"}, status=_TEXT)
_USER = _object({"login": _TEXT, "id": _NUMBER, "type": {"type": "string", "enum": ["User", "Bot", "Organization"]}})
_REPOSITORY = _object({
    "id": _NUMBER, "full_name": _TEXT, "private": _FLAG, "archived": _FLAG, "default_branch": _TEXT, "owner": _USER,
})  # fmt: skip
_PERMITTED = _object(
    _REPOSITORY["properties"] | {"permissions": _object({"push": _FLAG, "admin": _FLAG, "pull": _FLAG})}
)
_SIMPLE = _object({
    "number": _NUMBER, "html_url": _TEXT, "state": {"type": "string", "enum": ["open", "closed"]}, "title": _TEXT,
    "body": _MAYBE_TEXT, "user": _maybe(_USER), "draft": _FLAG, "merged_at": _MAYBE_TEXT, "updated_at": _TEXT,
    "merge_commit_sha": _MAYBE_TEXT, "base": _object({"ref": _TEXT, "sha": _TEXT, "repo": _REPOSITORY}),
    "head": _object({"ref": _TEXT, "sha": _TEXT, "repo": _maybe(_REPOSITORY)}),
})  # fmt: skip
_PULL = _object(
    _SIMPLE["properties"] | {"merged": _FLAG, "merged_by": _maybe(_USER), "mergeable": _FLAG | {"nullable": True}}
)
_REVIEW = _object({
    "id": _NUMBER, "user": _maybe(_USER), "state": _TEXT, "commit_id": _MAYBE_TEXT, "submitted_at": _TEXT,
})  # fmt: skip
_COMMENT = _object({"id": _NUMBER, "body": _TEXT, "user": _maybe(_USER)})
_STATUS = _object({"state": _TEXT, "context": _TEXT, "description": _MAYBE_TEXT, "target_url": _MAYBE_TEXT})
_HOOK = _object({
    "id": _NUMBER, "name": _TEXT, "active": _FLAG, "events": _list(_TEXT),
    "config": _object({"url": _TEXT, "content_type": _TEXT}),
})  # fmt: skip
_SCHEMAS = {
    "error": _ERROR, "user": _USER, "permitted": _PERMITTED, "simple": _SIMPLE, "pull": _PULL, "review": _REVIEW,
    "comment": _COMMENT, "status": _STATUS, "hook": _HOOK, "label": _object({"id": _NUMBER, "name": _TEXT}),
}  # fmt: skip


def _operation(
    answers: dict[int, dict[str, Any] | None], *, query: tuple[str, ...] = (), body: dict[str, Any] | None = None
) -> dict[str, Any]:
    said: dict[int, Any] = {404: _ref("error"), 422: _ref("error"), **answers}
    found: dict[str, Any] = {
        "parameters": [{"name": name, "in": "query", "schema": {}} for name in query],
        "responses": {
            str(status): {"content": {"application/json": {"schema": schema}}} if schema else {}
            for status, schema in said.items()
        },
    }
    if body is not None:
        found["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return found


_REPO = "/repos/{owner}/{repo}"
_HOOK_CONFIG = _object({
    "url": _TEXT, "content_type": {"type": "string", "enum": ["json", "form"]}, "secret": _TEXT,
    "insecure_ssl": {"type": "string", "enum": ["0", "1"]},
})  # fmt: skip

#: what the slice has not; pages named by their path below https://docs.github.com/en/rest
_MISSING: dict[str, dict[str, Any]] = {
    # repos/repos#get-a-repository
    _REPO: {"get": _operation({200: _ref("permitted")})},
    # issues/issues#get-an-issue
    f"{_REPO}/issues/{{issue_number}}": {
        "get": _operation({200: _object({"number": _NUMBER, "state": _TEXT, "closed_by": _maybe(_USER)})})
    },
    # branches/branches#get-a-branch
    f"{_REPO}/branches/{{branch}}": {
        "get": _operation({200: _object({"name": _TEXT, "protected": _FLAG, "commit": _object({"sha": _TEXT})})})
    },
    # repos/repos#list-repository-activities
    f"{_REPO}/activity": {
        "get": _operation(
            {200: _list(_object({
                "id": _NUMBER, "before": _TEXT, "after": _TEXT, "ref": _TEXT, "timestamp": _TEXT,
                "actor": _maybe(_USER),
                "activity_type": {"type": "string", "enum": [
                    "push", "force_push", "branch_deletion", "branch_creation", "pr_merge", "merge_queue_merge",
                ]},
            }))},
            query=("direction", "per_page", "before", "after", "ref", "actor", "time_period", "activity_type"),
        )
    },
    # commits/commits#list-pull-requests-associated-with-a-commit
    f"{_REPO}/commits/{{commit_sha}}/pulls": {"get": _operation({200: _list(_ref("simple"))}, query=_PAGES)},
    # repos/webhooks
    f"{_REPO}/hooks": {
        "get": _operation({200: _list(_ref("hook"))}, query=_PAGES),
        "post": _operation(
            {201: _ref("hook")},
            body=_object({"config": _HOOK_CONFIG}, name=_TEXT, active=_FLAG, events=_list(_TEXT))
            | {"additionalProperties": False},
        ),
    },
    f"{_REPO}/hooks/{{hook_id}}": {"delete": _operation({204: None})},
    # issues/labels#remove-a-label-from-an-issue
    f"{_REPO}/issues/{{issue_number}}/labels/{{name}}": {"delete": _operation({200: _list(_ref("label"))})},
    # users/users#get-the-authenticated-user, users/users#get-a-user
    "/user": {"get": _operation({200: _ref("user")})},
    "/users/{username}": {"get": _operation({200: _ref("user")})},
    # apps/apps#get-the-authenticated-app, apps/apps#create-an-installation-access-token-for-an-app
    "/app": {"get": _operation({200: _object({"id": _NUMBER, "slug": _TEXT})})},
    "/app/installations/{installation_id}/access_tokens": {
        "post": _operation({201: _object({"token": _TEXT, "expires_at": _TEXT, "permissions": {"type": "object"}})})
    },
}  # fmt: skip

#: what the slice has, in short, for where it is not there
_REDUCED: dict[str, dict[str, Any]] = {
    # pulls/pulls
    f"{_REPO}/pulls": {
        "get": _operation(
            {200: _list(_ref("simple"))}, query=("state", "head", "base", "sort", "direction", *_PAGES)
        ),
        "post": _operation(
            {201: _ref("pull")},
            body=_object({"head": _TEXT, "base": _TEXT}, title=_TEXT, body=_TEXT, draft=_FLAG, issue=_NUMBER,
                         maintainer_can_modify=_FLAG, head_repo=_TEXT),
        ),
    },
    f"{_REPO}/pulls/{{pull_number}}": {
        "get": _operation({200: _ref("pull")}),
        "patch": _operation(
            {200: _ref("pull")},
            body=_object({}, title=_TEXT, body=_TEXT, state={"type": "string", "enum": ["open", "closed"]}, base=_TEXT),
        ),
    },
    f"{_REPO}/pulls/{{pull_number}}/merge": {
        "put": _operation(
            {200: _object({"sha": _TEXT, "merged": _FLAG, "message": _TEXT}), 405: _ref("error"), 409: _ref("error")},
            body=_object({}, commit_title=_TEXT, commit_message=_TEXT, sha=_TEXT,
                         merge_method={"type": "string", "enum": ["merge", "squash", "rebase"]}),
        )
    },
    # pulls/reviews
    f"{_REPO}/pulls/{{pull_number}}/reviews": {"get": _operation({200: _list(_ref("review"))}, query=_PAGES)},
    # issues/comments
    f"{_REPO}/issues/{{issue_number}}/comments": {
        "get": _operation({200: _list(_ref("comment"))}, query=("since", *_PAGES)),
        "post": _operation({201: _ref("comment")}, body=_object({"body": _TEXT})),
    },
    f"{_REPO}/issues/comments/{{comment_id}}": {
        "patch": _operation({200: _ref("comment")}, body=_object({"body": _TEXT}))
    },
    # issues/labels
    f"{_REPO}/issues/{{issue_number}}/labels": {
        "get": _operation({200: _list(_ref("label"))}, query=_PAGES),
        "post": _operation({200: _list(_ref("label"))}, body=_object({"labels": _list(_TEXT)})),
    },
    # commits/statuses
    f"{_REPO}/statuses/{{sha}}": {
        "post": _operation(
            {201: _ref("status")},
            body=_object({"state": {"type": "string", "enum": ["error", "failure", "pending", "success"]}},
                         target_url=_MAYBE_TEXT, description=_MAYBE_TEXT, context=_TEXT),
        )
    },
    f"{_REPO}/commits/{{ref}}/status": {
        "get": _operation({200: _object({"state": _TEXT, "statuses": _list(_ref("status"))})}, query=_PAGES)
    },
    # collaborators/collaborators#get-repository-permissions-for-a-user
    f"{_REPO}/collaborators/{{username}}/permission": {
        "get": _operation({200: _object({"permission": _TEXT, "role_name": _TEXT, "user": _maybe(_USER)})})
    },
    # repos/rules#get-rules-for-a-branch, branches/branch-protection#get-branch-protection
    f"{_REPO}/rules/branches/{{branch}}": {"get": _operation({200: _list(_object({"type": _TEXT}))}, query=_PAGES)},
    f"{_REPO}/branches/{{branch}}/protection": {"get": _operation({200: {"type": "object"}})},
}  # fmt: skip


def github_spec(*, reduced: bool = False) -> Spec:
    """All that the double answers; `reduced`: as if the vendor's slice were not there."""
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "paths": {},
        "components": {"schemas": {f"gm-{name}": schema for name, schema in _SCHEMAS.items()}},
    }
    folder, added = spec_folder(), _MISSING
    if folder is not None and (folder / _FILE).is_file() and not reduced:
        vendor = json.loads((folder / _FILE).read_text("utf-8"))
        vendor["components"]["schemas"] |= document["components"]["schemas"]
        _put_right(vendor)
        document = vendor
    else:
        added = _MISSING | _REDUCED
    for path, methods in json.loads(json.dumps(added)).items():
        document["paths"].setdefault(path, {}).update(methods)
    return Spec(document)


def _put_right(vendor: dict[str, Any]) -> None:
    schemas = vendor["components"]["schemas"]
    # an author whose account was deleted is null in the older answers, and the ghost in the newer ones
    for name in ("pull-request", "pull-request-simple"):
        schema = vendor["components"]["schemas"].get(name, {}).get("properties", {})
        if "user" in schema:
            schema["user"] = {"$ref": "#/components/schemas/nullable-simple-user"}
    for name in ("team-simple", "team", "nullable-team-simple"):
        schemas[name]["required"] = [one for one in schemas[name]["required"] if one != "type"]
    for name in ("pull-request", "pull-request-simple"):
        head = schemas[name]["properties"]["head"]["properties"]
        head["repo"] = _maybe(head["repo"])
    for methods in vendor["paths"].values():
        for method in methods.values():
            method["responses"].setdefault("404", {"content": {"application/json": {"schema": _ref("error")}}})
            method["responses"].setdefault("422", {"content": {"application/json": {"schema": _ref("error")}}})
