"""GitLab's description of its API, reduced and by hand: what the adapter reads, and what a request may hold.

Decides nothing. Each operation is from its page below https://docs.gitlab.com/api/, which stands above it.
"""

from __future__ import annotations

from typing import Any

from tests.forges.schema import Spec

_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_MAYBE_TEXT, _MAYBE_NUMBER = {"type": "string", "nullable": True}, {"type": "integer", "nullable": True}
_PAGES = ("per_page", "page")
_PROJECT = "/projects/{id}"
_ONE = f"{_PROJECT}/merge_requests/{{merge_request_iid}}"


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "nullable": True}


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


_ERROR = {"type": "object", "properties": {"message": {}, "error": _TEXT}}
_USER = _object({"id": _NUMBER, "username": _TEXT, "name": _TEXT, "state": _TEXT})
_WHOLE_USER = _object({"id": _NUMBER, "username": _TEXT, "bot": _FLAG})
_REQUEST = _object({
    "id": _NUMBER, "iid": _NUMBER, "project_id": _NUMBER, "title": _TEXT, "description": _MAYBE_TEXT,
    "state": _one_of("opened", "closed", "merged", "locked"), "created_at": _TEXT, "updated_at": _TEXT,
    "merged_at": _MAYBE_TEXT, "merge_user": _maybe(_USER), "merged_by": _maybe(_USER), "closed_by": _maybe(_USER),
    "author": _maybe(_USER), "source_project_id": _MAYBE_NUMBER, "target_project_id": _NUMBER, "labels": _list(_TEXT),
    "source_branch": _TEXT, "target_branch": _TEXT, "draft": _FLAG, "sha": _MAYBE_TEXT,
    "merge_commit_sha": _MAYBE_TEXT, "squash_commit_sha": _MAYBE_TEXT, "web_url": _TEXT,
    "detailed_merge_status": _one_of(
        "approvals_syncing", "checking", "ci_must_pass", "ci_still_running", "commits_status", "conflict",
        "discussions_not_resolved", "draft_status", "mergeable", "need_rebase", "not_approved", "not_open", "preparing",
        "requested_changes", "unchecked",
    ),
})  # fmt: skip
_VERSION = _object({"id": _NUMBER, "head_commit_sha": _TEXT, "created_at": _TEXT, "merge_request_id": _NUMBER})
_NOTE = _object({"id": _NUMBER, "body": _TEXT, "author": _USER, "system": _FLAG, "created_at": _TEXT})
_STATUS_STATES = _one_of("pending", "running", "success", "failed", "canceled", "skipped")
_STATUS = _object({
    "id": _NUMBER, "sha": _TEXT, "status": _STATUS_STATES, "name": _TEXT, "description": _MAYBE_TEXT,
    "target_url": _MAYBE_TEXT,
})  # fmt: skip
_LEVELS = _list(_object({"access_level": _MAYBE_NUMBER}, access_level_description=_TEXT))
_HOOK = _object({
    "id": _NUMBER, "url": _TEXT, "project_id": _NUMBER, "push_events": _FLAG, "merge_requests_events": _FLAG,
    "enable_ssl_verification": _FLAG,
}, alert_status=_one_of("executable", "disabled", "temporarily_disabled"))  # fmt: skip
_PROJECT_SHAPE = _object({
    "id": _NUMBER, "path_with_namespace": _TEXT, "default_branch": _MAYBE_TEXT, "archived": _FLAG,
    "visibility": _one_of("private", "internal", "public"), "merge_method": _one_of("merge", "rebase_merge", "ff"),
    "squash_option": _one_of("never", "always", "default_on", "default_off"), "permissions": {"type": "object"},
})  # fmt: skip


def _operation(
    answers: dict[int, dict[str, Any] | None], *, query: tuple[str, ...] = (), body: dict[str, Any] | None = None
) -> dict[str, Any]:
    said: dict[int, Any] = {400: _ERROR, 404: _ERROR, **answers}
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


_PATHS: dict[str, dict[str, Any]] = {
    # merge_requests/
    f"{_PROJECT}/merge_requests": {
        "get": _operation({200: _list(_REQUEST)}, query=(
            "state", "order_by", "sort", "scope", "source_branch", "target_branch", "updated_after", "updated_before",
            "created_after", "author_id", "labels", *_PAGES,
        )),
        "post": _operation({201: _REQUEST, 409: _ERROR, 422: _ERROR}, body=_object(
            {"source_branch": _TEXT, "target_branch": _TEXT, "title": _TEXT}, description=_TEXT, labels=_TEXT,
            remove_source_branch=_FLAG, squash=_FLAG, target_project_id=_NUMBER, assignee_id=_NUMBER,
            allow_collaboration=_FLAG,
        )),
    },
    _ONE: {
        "get": _operation({200: _REQUEST}, query=("include_diverged_commits_count", "include_rebase_in_progress")),
        "put": _operation({200: _REQUEST, 409: _ERROR, 422: _ERROR}, body=_object(
            {}, state_event=_one_of("close", "reopen"), add_labels=_TEXT, remove_labels=_TEXT, labels=_TEXT,
            title=_TEXT, description=_TEXT, target_branch=_TEXT, squash=_FLAG, remove_source_branch=_FLAG,
        )),
    },
    f"{_ONE}/merge": {
        "put": _operation({200: _REQUEST, 405: _ERROR, 409: _ERROR, 422: _ERROR}, body=_object(
            {}, sha=_TEXT, squash=_FLAG, should_remove_source_branch=_FLAG, auto_merge=_FLAG,
            merge_commit_message=_TEXT, squash_commit_message=_TEXT,
        )),
    },
    f"{_ONE}/versions": {"get": _operation({200: _list(_VERSION)}, query=_PAGES)},
    f"{_ONE}/reviewers": {"get": _operation({200: _list(_object({
        "user": _USER, "created_at": _TEXT,
        "state": _one_of("unreviewed", "reviewed", "requested_changes", "approved", "unapproved", "review_started"),
    }))})},
    # merge_request_approvals/#retrieve-approval-state-for-a-merge-request
    f"{_ONE}/approvals": {"get": _operation({200: _object(
        {"approved": _FLAG, "approved_by": _list(_object({"user": _USER}, approved_at=_TEXT))},
        user_has_approved=_FLAG, user_can_approve=_FLAG,
    )})},
    # merge_request_approvals/ of projects: Premium and Ultimate
    f"{_PROJECT}/approvals": {"get": _operation({200: _object(
        {"reset_approvals_on_push": _FLAG, "merge_requests_author_approval": _FLAG}
    )})},
    f"{_PROJECT}/approval_rules": {
        "get": _operation({200: _list(_object({"id": _NUMBER, "approvals_required": _NUMBER}))}, query=_PAGES)
    },
    # notes/#merge-requests
    f"{_ONE}/notes": {
        "get": _operation({200: _list(_NOTE)}, query=("sort", "order_by", *_PAGES)),
        "post": _operation({201: _NOTE}, body=_object({"body": _TEXT}, internal=_FLAG, created_at=_TEXT)),
    },
    f"{_ONE}/notes/{{note_id}}": {"put": _operation({200: _NOTE}, body=_object({"body": _TEXT}))},
    # commits/#set-commit-pipeline-status, and the lists beside it
    f"{_PROJECT}/statuses/{{sha}}": {"post": _operation({201: _STATUS}, body=_object(
        {"state": _STATUS_STATES}, name=_TEXT, context=_TEXT, ref=_TEXT, target_url=_TEXT, coverage={"type": "number"},
        description={"type": "string", "maxLength": 255}, pipeline_id=_NUMBER,
    ))},
    f"{_PROJECT}/repository/commits/{{sha}}/statuses": {
        "get": _operation({200: _list(_STATUS)}, query=("ref", "stage", "name", "pipeline_id", "all", *_PAGES))
    },
    f"{_PROJECT}/repository/commits/{{sha}}/merge_requests": {
        "get": _operation({200: _list(_REQUEST)}, query=("state", *_PAGES))
    },
    # branches/#retrieve-a-repository-branch, protected_branches/#retrieve-a-protected-branch
    f"{_PROJECT}/repository/branches/{{branch}}": {
        "get": _operation({200: _object({"name": _TEXT, "protected": _FLAG, "commit": _object({"id": _TEXT})})})
    },
    f"{_PROJECT}/protected_branches/{{name}}": {"get": _operation({200: _object({
        "id": _NUMBER, "name": _TEXT, "allow_force_push": _FLAG, "push_access_levels": _LEVELS,
        "merge_access_levels": _LEVELS,
    })})},
    # projects/, project_members/, events/#list-a-projects-visible-events
    _PROJECT: {"get": _operation({200: _PROJECT_SHAPE})},
    f"{_PROJECT}/members/all/{{user_id}}": {"get": _operation({200: _object(
        {"id": _NUMBER, "username": _TEXT, "access_level": _NUMBER, "state": _TEXT}
    )})},
    f"{_PROJECT}/events": {"get": _operation(
        {200: _list(_object({"id": _NUMBER, "action_name": _TEXT, "author_id": _NUMBER, "created_at": _TEXT}))},
        query=("action", "target_type", "before", "after", "sort", *_PAGES),
    )},
    # project_webhooks/; the signing token as its merge request in GitLab describes it
    f"{_PROJECT}/hooks": {
        "get": _operation({200: _list(_HOOK)}, query=_PAGES),
        "post": _operation({201: _HOOK, 422: _ERROR}, body=_object(
            {"url": _TEXT}, token=_TEXT, signing_token=_TEXT, push_events=_FLAG, merge_requests_events=_FLAG,
            enable_ssl_verification=_FLAG, note_events=_FLAG, name=_TEXT,
        )),
    },
    f"{_PROJECT}/hooks/{{hook_id}}": {"delete": _operation({204: None})},
    # users/, personal_access_tokens/#self-inform
    "/user": {"get": _operation({200: _WHOLE_USER})},
    "/users/{id}": {"get": _operation({200: _WHOLE_USER})},
    "/personal_access_tokens/self": {
        "get": _operation({200: _object({"id": _NUMBER, "scopes": _list(_TEXT), "active": _FLAG, "user_id": _NUMBER})})
    },
}  # fmt: skip


def gitlab_spec() -> Spec:
    """All that the double answers."""
    return Spec.find("gitlab-openapi3.json", {"openapi": "3.0.3", "paths": _PATHS, "components": {"schemas": {}}})
