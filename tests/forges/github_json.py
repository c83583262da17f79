"""The shapes of GitHub's answers: https://docs.github.com/en/rest

Decides nothing: what the state holds, in GitHub's words.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.forges.state import Comment, Hook, Pull, Repository, Review, Status, User

_USER_URLS = (
    "avatar_url", "events_url", "followers_url", "following_url", "gists_url", "organizations_url",
    "received_events_url", "repos_url", "starred_url", "subscriptions_url",
)  # fmt: skip
_REPOSITORY_URLS = (
    "archive_url", "assignees_url", "blobs_url", "branches_url", "collaborators_url", "comments_url", "commits_url",
    "compare_url", "contents_url", "contributors_url", "deployments_url", "downloads_url", "events_url", "forks_url",
    "git_commits_url", "git_refs_url", "git_tags_url", "hooks_url", "issue_comment_url", "issue_events_url",
    "issues_url", "keys_url", "labels_url", "languages_url", "merges_url", "milestones_url", "notifications_url",
    "pulls_url", "releases_url", "stargazers_url", "statuses_url", "subscribers_url", "subscription_url", "tags_url",
    "teams_url", "trees_url",
)  # fmt: skip
_STATES = {"approve": "APPROVED", "reject": "CHANGES_REQUESTED", "comment": "COMMENTED"}


def moment(at: datetime | None) -> str | None:
    """As GitHub writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


class Shapes:
    """Answers of one server."""

    def __init__(self, url: str, api: str) -> None:
        self.url, self.api = url, api

    def user(self, user: User) -> dict[str, Any]:
        """simple-user"""
        place = f"{self.api}/users/{user.login}"
        return {
            **dict.fromkeys(_USER_URLS, place), "login": user.login, "id": user.id, "node_id": f"U_{user.id}",
            "gravatar_id": "", "url": place, "html_url": f"{self.url}/{user.login}", "site_admin": False,
            "type": "Bot" if user.is_bot else "User",
        }  # fmt: skip

    def owner(self, name: str) -> dict[str, Any]:
        """The organization that a repository belongs to."""
        return {**self.user(User(1, name)), "type": "Organization"}

    def repository(self, one: Repository) -> dict[str, Any]:
        """repository"""
        place, seen = f"{self.api}/repos/{one.full_name}", "2026-01-01T00:00:00Z"
        return {
            **dict.fromkeys(_REPOSITORY_URLS, place), "id": one.id, "node_id": f"R_{one.id}", "name": one.name,
            "full_name": one.full_name, "owner": self.owner(one.owner), "private": one.private, "fork": False,
            "html_url": f"{self.url}/{one.full_name}", "description": None, "url": place, "license": None,
            "clone_url": f"{self.url}/{one.full_name}.git", "git_url": "git://x", "ssh_url": "x", "svn_url": place,
            "mirror_url": None, "homepage": None, "language": None, "forks": 0, "forks_count": 0, "size": 1,
            "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "open_issues": 0, "open_issues_count": 0,
            "has_issues": True, "has_projects": True, "has_wiki": True, "has_pages": False, "has_downloads": True,
            "default_branch": one.default_branch, "archived": one.archived, "disabled": False, "pushed_at": seen,
            "created_at": seen, "updated_at": seen,
        }  # fmt: skip

    def label(self, name: str, number: int) -> dict[str, Any]:
        """label"""
        return {
            "id": number, "node_id": f"L_{number}", "url": f"{self.api}/labels/{number}", "name": name,
            "description": "", "color": "ededed", "default": False,
        }  # fmt: skip

    def side(self, repository: Repository | None, ref: str, sha: str, owner: str) -> dict[str, Any]:
        """head or base; a fork that was deleted is null"""
        return {
            "label": f"{owner}:{ref}", "ref": ref, "sha": sha, "user": self.owner(owner),
            "repo": self.repository(repository) if repository else None,
        }  # fmt: skip

    def pull_simple(
        self, pull: Pull, home: Repository, head: Repository | None, author: User | None, merge_sha: str | None
    ) -> dict[str, Any]:
        """pull-request-simple"""
        place, issue = f"{self.api}/repos/{home.full_name}/pulls/{pull.number}", f"{self.api}/issues/{pull.number}"
        page = f"{self.url}/{home.full_name}/pull/{pull.number}"
        named = {
            "comments": f"{issue}/comments", "commits": f"{place}/commits", "statuses": f"{place}/statuses",
            "html": page, "issue": issue, "review_comments": f"{place}/comments", "review_comment": f"{place}/comments",
            "self": place,
        }  # fmt: skip
        return {
            "url": place, "id": pull.id, "node_id": f"PR_{pull.id}", "html_url": page, "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch", "issue_url": issue, "commits_url": named["commits"],
            "review_comments_url": named["review_comments"], "review_comment_url": named["review_comment"],
            "comments_url": named["comments"], "statuses_url": named["statuses"], "number": pull.number,
            "state": "open" if pull.state == "open" else "closed", "locked": False, "title": pull.title,
            "user": self.user(author) if author else None, "body": pull.body, "draft": pull.draft,
            "labels": [self.label(name, home.labels.get(name, 1)) for name in pull.labels], "milestone": None,
            "created_at": moment(pull.created_at), "updated_at": moment(pull.updated_at),
            "closed_at": moment(pull.closed_at), "merged_at": moment(pull.merged_at), "merge_commit_sha": merge_sha,
            "assignee": None, "assignees": [], "requested_reviewers": [], "requested_teams": [],
            "head": self.side(head, pull.branch, pull.head_sha, head.owner if head else "ghost"),
            "base": self.side(home, pull.base, pull.base_sha, home.owner), "author_association": "MEMBER",
            "auto_merge": None, "_links": {name: {"href": href} for name, href in named.items()},
        }  # fmt: skip

    def pull(
        self, simple: dict[str, Any], pull: Pull, merged_by: User | None, mergeable: bool | None
    ) -> dict[str, Any]:
        """pull-request"""
        state = {None: "unknown", True: "clean", False: "dirty"}[mergeable]
        return {
            **simple, "merged": pull.state == "merged", "mergeable": mergeable, "rebaseable": mergeable,
            "mergeable_state": state, "merged_by": self.user(merged_by) if merged_by else None,
            "comments": len(pull.comments), "review_comments": 0, "maintainer_can_modify": False, "commits": 1,
            "additions": 1, "deletions": 0, "changed_files": 1,
        }  # fmt: skip

    def review(self, one: Review, pull_url: str, user: User | None) -> dict[str, Any]:
        """pull-request-review"""
        return {
            "id": one.id, "node_id": f"PRR_{one.id}", "user": self.user(user) if user else None, "body": one.body,
            "state": "DISMISSED" if one.dismissed else _STATES[one.state], "html_url": f"{pull_url}#r{one.id}",
            "pull_request_url": pull_url, "author_association": "MEMBER", "submitted_at": moment(one.at),
            "commit_id": one.commit_sha or None,
            "_links": {"html": {"href": pull_url}, "pull_request": {"href": pull_url}},
        }  # fmt: skip

    def comment(self, one: Comment, home: Repository, number: int, user: User | None) -> dict[str, Any]:
        """issue-comment"""
        place = f"{self.api}/repos/{home.full_name}/issues/comments/{one.id}"
        return {
            "id": one.id, "node_id": f"IC_{one.id}", "url": place, "body": one.body, "author_association": "MEMBER",
            "html_url": f"{self.url}/{home.full_name}/pull/{number}#issuecomment-{one.id}",
            "issue_url": f"{self.api}/repos/{home.full_name}/issues/{number}",
            "user": self.user(user) if user else None, "created_at": moment(one.at),
            "updated_at": moment(one.edited_at),
        }  # fmt: skip

    def status(self, one: Status, number: int) -> dict[str, Any]:
        """simple-commit-status"""
        return {
            "id": number, "node_id": f"S_{number}", "url": f"{self.api}/statuses/{number}", "avatar_url": None,
            "state": one.state, "context": one.context, "description": one.description,
            "target_url": one.target_url or None, "created_at": moment(one.at), "updated_at": moment(one.at),
        }  # fmt: skip

    def hook(self, one: Hook) -> dict[str, Any]:
        """A webhook; its secret is never shown again."""
        return {
            "type": "Repository", "id": one.id, "name": "web", "active": one.active, "events": one.events,
            "config": {"url": one.url, "content_type": "json", "insecure_ssl": "0", "secret": "********"},
        }  # fmt: skip
