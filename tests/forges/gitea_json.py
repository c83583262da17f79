"""The JSON of Gitea and Forgejo, as the swagger page of each server (`/api/swagger`) describes it. Decides nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.forges.state import Comment, Hook, Protection, Pull, Repository, Review, Status, User

_STATES = {"approve": "APPROVED", "reject": "REQUEST_CHANGES", "comment": "COMMENT", "pending": "PENDING"}
GHOST = User(-1, "Ghost")


def moment(at: datetime | None) -> str | None:
    """As Go writes it."""
    return at.isoformat().replace("+00:00", "Z") if at else None


def user(one: User, url: str) -> dict[str, Any]:
    """A user; nothing in it says that no person is behind it."""
    return {
        "id": one.id, "login": one.login, "login_name": "", "full_name": "", "email": f"{one.login}@noreply.example",
        "avatar_url": f"{url}/avatars/{one.id}", "html_url": f"{url}/{one.login}", "language": "", "is_admin": False,
        "last_login": "0001-01-01T00:00:00Z", "created": "2026-01-01T00:00:00Z", "restricted": False, "active": False,
        "prohibit_login": False, "location": "", "website": "", "description": "", "visibility": "public",
        "followers_count": 0, "following_count": 0, "starred_repos_count": 0,
    }  # fmt: skip


def repository(one: Repository, url: str, rank: int, by_hand: tuple[bool, bool] | None) -> dict[str, Any]:
    """A repository; `rank`: what who asks may do. `by_hand`: of merges; None: Forgejo does not tell."""
    names = ("allow_manual_merge", "autodetect_manual_merge")
    return {
        "id": one.id, "owner": user(User(one.id + 100_000, one.owner), url), "name": one.name,
        "full_name": one.full_name, "description": "", "empty": False, "private": one.private, "fork": False,
        "html_url": f"{url}/{one.full_name}", "clone_url": f"{url}/{one.full_name}.git",
        "default_branch": one.default_branch, "archived": one.archived,
        "permissions": {"admin": rank > 2, "push": rank > 1, "pull": rank > 0},
        "has_pull_requests": True, "allow_merge_commits": "merge" in one.styles,
        "allow_rebase": "rebase" in one.styles, "allow_rebase_explicit": "rebase" in one.styles,
        "allow_squash_merge": "squash" in one.styles, "allow_fast_forward_only_merge": "fast-forward" in one.styles,
        **dict(zip(names, by_hand or (), strict=bool(by_hand))),
    }  # fmt: skip


def label(name: str, number: int, url: str) -> dict[str, Any]:
    """A label of a repository."""
    return {
        "id": number, "name": name, "exclusive": False, "is_archived": False, "color": "5b6ee1", "description": "",
        "url": f"{url}/labels/{number}",
    }  # fmt: skip


def pull(one: Pull, sides: dict[str, Any], people: dict[str, Any], url: str) -> dict[str, Any]:
    """A pull request; `state` is closed for a merged one as well."""
    page, is_merged = f"{url}/pulls/{one.number}", one.state == "merged"
    return {
        "id": one.id, "url": page, "number": one.number, "user": people["author"], "title": one.title,
        "body": one.body, "labels": people["labels"], "milestone": None, "assignee": None, "assignees": [],
        "requested_reviewers": [], "requested_reviewers_teams": [],
        "state": "open" if one.state == "open" else "closed",
        "draft": one.draft, "is_locked": False, "comments": len(one.comments), "html_url": page,
        "diff_url": f"{page}.diff", "patch_url": f"{page}.patch", "mergeable": one.state == "open",
        "merged": is_merged, "merged_at": moment(one.merged_at),
        "merge_commit_sha": one.merge_sha if is_merged else None,
        "merged_by": people["merged_by"], "allow_maintainer_edit": False, **sides, "merge_base": one.base_sha,
        "due_date": None, "created_at": moment(one.created_at), "updated_at": moment(one.updated_at),
        "closed_at": moment(one.closed_at), "pin_order": 0,
    }  # fmt: skip


def review(one: Review, by: dict[str, Any], url: str, *, official: bool) -> dict[str, Any]:
    """A review; `official` is what its author might have done when it was written."""
    return {
        "id": one.id, "user": by, "team": None, "state": _STATES[one.state], "body": one.body,
        "commit_id": one.commit_sha, "stale": one.stale, "official": official, "dismissed": one.dismissed,
        "comments_count": 0, "submitted_at": moment(one.at), "updated_at": moment(one.at),
        "html_url": f"{url}#issuecomment-{one.id}", "pull_request_url": url,
    }  # fmt: skip


def comment(one: Comment, by: dict[str, Any], url: str) -> dict[str, Any]:
    """A comment of a pull request."""
    return {
        "id": one.id, "html_url": f"{url}#issuecomment-{one.id}", "pull_request_url": url, "issue_url": "",
        "user": by, "original_author": "", "original_author_id": 0, "body": one.body, "assets": [],
        "created_at": moment(one.at), "updated_at": moment(one.edited_at),
    }  # fmt: skip


def status(one: Status, number: int, by: dict[str, Any], url: str) -> dict[str, Any]:
    """A commit status; what was sent as `state` comes back as `status`."""
    return {
        "id": number, "status": one.state, "target_url": one.target_url, "description": one.description, "url": url,
        "context": one.context, "creator": by, "created_at": moment(one.at), "updated_at": moment(one.at),
    }  # fmt: skip


def branch(name: str, sha: str, rule: Protection | None, rule_name: str) -> dict[str, Any]:
    """A branch; the rule's name is told to administrators."""
    return {
        "name": name, "commit": {"id": sha, "message": "", "url": "https://forge.example/commit"},
        "protected": rule is not None, "required_approvals": rule.required_reviews if rule else 0,
        "enable_status_check": False, "status_check_contexts": [], "user_can_push": rule is None,
        "user_can_merge": True, "effective_branch_protection_name": rule_name,
    }  # fmt: skip


def protection(name: str, rule: Protection, *, is_forgejo: bool) -> dict[str, Any]:
    """A rule; the switch for administrators has another name, and the opposite sense, in each of the two."""
    switch = {"apply_to_admins" if is_forgejo else "block_admin_merge_override": not rule.admins_bypass}
    more = {} if is_forgejo else {"enable_force_push": rule.force_push, "priority": 0}
    return {
        "branch_name": name, "rule_name": name, "enable_push": rule.direct_push, "enable_push_whitelist": False,
        "required_approvals": rule.required_reviews, "block_on_rejected_reviews": False,
        "dismiss_stale_approvals": rule.dismiss_stale, "ignore_stale_approvals": bool(rule.more.get("ignore_stale")),
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", **switch, **more,
        **{key: value for key, value in rule.more.items() if key != "ignore_stale"},
    }  # fmt: skip


def hook(one: Hook) -> dict[str, Any]:
    """A webhook; its secret is never shown."""
    return {
        "id": one.id, "type": "gitea", "branch_filter": "", "config": {"content_type": "json", "url": one.url},
        "events": one.events, "authorization_header": "", "active": one.active,
        "updated_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
