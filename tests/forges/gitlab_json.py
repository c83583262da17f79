"""The shapes of GitLab's answers: https://docs.gitlab.com/api/ and its pages of merge requests, approvals, commits.

Decides nothing: what the state holds, in GitLab's words.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.forges.state import Comment, Hook, Protection, Pull, Repository, Status, User

LEVELS = {"": 0, "read": 20, "write": 30, "admin": 40}
_STATES = {"open": "opened", "merged": "merged", "closed": "closed"}


def moment(at: datetime | None) -> str | None:
    """As GitLab writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z" if at else None


class Shapes:
    """Answers of one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def basic(self, user: User | None) -> dict[str, Any] | None:
        """A user beside something else: whether it is a bot is not said here."""
        if user is None:
            return None
        return {
            "id": user.id, "username": user.login, "name": user.login, "state": "active", "locked": False,
            "avatar_url": None, "web_url": f"{self.url}/{user.login}",
        }  # fmt: skip

    def user(self, user: User) -> dict[str, Any]:
        """api/users/"""
        return {**(self.basic(user) or {}), "created_at": "2026-01-01T00:00:00.000Z", "bot": user.is_bot, "bio": ""}

    def project(self, one: Repository, level: int, settings: dict[str, Any]) -> dict[str, Any]:
        """api/projects/"""
        return {
            "id": one.id, "name": one.name, "path": one.name, "path_with_namespace": one.full_name, "description": None,
            "name_with_namespace": f"{one.owner} / {one.name}", "default_branch": one.default_branch,
            "archived": one.archived, "visibility": "private" if one.private else "public",
            "web_url": f"{self.url}/{one.full_name}", "http_url_to_repo": f"{self.url}/{one.full_name}.git",
            "permissions": {
                "project_access": {"access_level": level, "notification_level": 3} if level else None,
                "group_access": None,
            },
            **settings,
        }  # fmt: skip

    def merge_request(
        self, pull: Pull, home: Repository, people: dict[str, User | None], shas: tuple[str | None, str | None],
        status: str,
    ) -> dict[str, Any]:  # fmt: skip
        """api/merge_requests/#retrieve-a-merge-request; `shas`: of the merge commit and of the squash commit"""
        merger = self.basic(people["merged_by"])
        return {
            "id": pull.id, "iid": pull.number, "project_id": home.id, "title": pull.title, "description": pull.body,
            "state": _STATES[pull.state], "created_at": moment(pull.created_at), "updated_at": moment(pull.updated_at),
            "merged_by": merger, "merge_user": merger, "merged_at": moment(pull.merged_at),
            "closed_by": self.basic(people["closed_by"]), "closed_at": moment(pull.closed_at),
            "target_branch": pull.base, "source_branch": pull.branch, "author": self.basic(people["author"]),
            "assignees": [], "reviewers": [], "source_project_id": pull.head_repository,
            "target_project_id": pull.repository, "labels": list(pull.labels), "draft": pull.draft,
            "work_in_progress": pull.draft, "merge_status": "can_be_merged", "detailed_merge_status": status,
            "sha": pull.head_sha, "merge_commit_sha": shas[0], "squash_commit_sha": shas[1],
            "web_url": f"{self.url}/{home.full_name}/-/merge_requests/{pull.number}",
            "references": {"full": f"{home.full_name}!{pull.number}"}, "has_conflicts": status == "conflict",
            "should_remove_source_branch": None, "force_remove_source_branch": True, "squash": False,
        }  # fmt: skip

    def versions(self, pull: Pull, shown: int) -> list[dict[str, Any]]:
        """api/merge_requests/#retrieve-merge-request-diff-versions; newest first"""
        found = [
            {
                "id": pull.id * 1000 + number, "head_commit_sha": one.sha, "base_commit_sha": pull.base_sha,
                "start_commit_sha": pull.base_sha, "created_at": moment(one.at), "merge_request_id": pull.id,
                "state": "collected", "real_size": "1", "patch_id_sha": None,
            }
            for number, one in enumerate(pull.versions[:shown], 1)
        ]  # fmt: skip
        return found[::-1]

    def note(self, pull: Pull, one: Comment, user: User | None, *, system: bool = False) -> dict[str, Any]:
        """api/notes/#merge-requests"""
        return {
            "id": one.id, "body": one.body, "author": self.basic(user), "created_at": moment(one.at),
            "updated_at": moment(one.edited_at), "system": system, "noteable_id": pull.id, "noteable_iid": pull.number,
            "noteable_type": "MergeRequest", "resolvable": False, "internal": False,
        }  # fmt: skip

    def status(self, one: Status, sha: str, user: User | None, number: int) -> dict[str, Any]:
        """api/commits/#set-commit-pipeline-status"""
        return {
            "id": number, "sha": sha, "ref": None, "status": one.state, "name": one.context,
            "description": one.description, "target_url": one.target_url or None, "created_at": moment(one.at),
            "author": self.basic(user), "allow_failure": False,
        }  # fmt: skip

    def rule(self, branch: str, rule: Protection, number: int) -> dict[str, Any]:
        """api/protected_branches/; level 0 is nobody"""
        level = 30 if rule.direct_push else 40 if rule.admins_bypass else 0
        words = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers"}
        return {
            "id": number, "name": branch, "allow_force_push": rule.force_push,
            "push_access_levels": [{"id": 1, "access_level": level, "access_level_description": words[level]}],
            "merge_access_levels": [{"id": 2, "access_level": 30, "access_level_description": words[30]}],
        }  # fmt: skip

    def hook(self, one: Hook, project: int) -> dict[str, Any]:
        """api/project_webhooks/; its secret is never shown"""
        named = ("push_events", "merge_requests_events", "note_events", "tag_push_events")
        return {
            "id": one.id, "url": one.url, "project_id": project,
            "alert_status": "executable" if one.active else "disabled",
            "enable_ssl_verification": True, "token_present": bool(one.secret) and not one.secret.startswith("whsec_"),
            "signing_token_present": one.secret.startswith("whsec_"),
            **{name: name in one.events for name in named},
        }  # fmt: skip
