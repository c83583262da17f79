"""GitHub's answers in our words, where a table says it shorter than a conversation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.adapters.forge.github_words import missing_words, posture_of, review_of, utc

ADA = {"id": 7, "login": "ada", "type": "User"}
SAID = {"state": "APPROVED", "user": ADA, "commit_id": "a" * 40, "submitted_at": "2026-11-26T10:00:00Z"}
FORWARD, ASKS = {"type": "non_fast_forward"}, {"type": "pull_request"}


def test_a_review():
    review = review_of(SAID)
    assert review is not None
    assert (review.by.id, review.by.forge, review.verdict, review.via) == ("7", "github", "approve", "forge")
    assert review.at == datetime(2026, 11, 26, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"state": "CHANGES_REQUESTED"}, ("reject", True)),
        ({"state": "DISMISSED"}, ("approve", False)),
        ({"state": "COMMENTED"}, None),
        ({"state": "PENDING"}, None),
        ({"state": "WHATEVER"}, None),
        ({"user": None}, None),
        ({"submitted_at": None}, None),
        ({"commit_id": None}, ("approve", True)),
    ],
)
def test_what_a_review_says(change: dict[str, Any], shown: tuple[str, bool] | None):
    review = review_of(SAID | change)
    assert (review and (review.verdict, review.stands)) == shown
    if review is not None and "commit_id" in change:
        assert review.head_sha == ""


def asks(count: int, **more: Any) -> dict[str, Any]:
    return ASKS | {"parameters": {"required_approving_review_count": count, **more}}


def older(*, count: int | None = None, force: bool = False, enforce: bool = True, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"enforce_admins": {"enabled": enforce}, "allow_force_pushes": {"enabled": force}}
    if count is not None:
        said["required_pull_request_reviews"] = {"required_approving_review_count": count, **more}
    return said


@pytest.mark.parametrize(
    ("protected", "rules", "classic", "expected"),
    [
        # protected, force_push, reviews, admins_bypass, stale_dismissed
        (False, [], None, (False, True, 0, None, False)),
        (False, [], {}, (False, True, 0, None, False)),
        (True, [], None, (True, None, None, None, None)),
        (False, [FORWARD], None, (True, False, 0, None, False)),
        (False, [FORWARD, asks(2)], None, (True, False, 2, None, False)),
        (False, [asks(1)], None, (True, True, 1, None, False)),
        (True, [asks(1)], None, (True, None, 1, None, None)),
        (True, [], older(), (True, False, 0, False, False)),
        (True, [asks(1)], older(), (True, False, 1, None, False)),
        (True, [], older(count=2), (True, False, 2, False, False)),
        (True, [], older(count=2, force=True), (True, True, 2, False, False)),
        (True, [FORWARD], older(count=2, force=True), (True, False, 2, False, False)),
        (True, [], older(count=2, enforce=False), (True, False, 2, True, False)),
        (True, [asks(1)], older(count=2, enforce=False), (True, False, 2, None, False)),
        (True, [asks(3, dismiss_stale_reviews_on_push=True)], older(count=2), (True, False, 3, False, True)),
        (True, [], older(count=1, dismiss_stale_reviews=True), (True, False, 1, False, True)),
        (True, [], older(count=1, bypass_pull_request_allowances={"users": [ADA]}), (True, False, 1, True, False)),
        (True, [], older(count=1, bypass_pull_request_allowances={"users": []}), (True, False, 1, False, False)),
    ],
)
def test_how_a_branch_is_protected(
    protected: bool, rules: list[dict[str, Any]], classic: dict[str, Any] | None, expected: tuple[Any, ...]
):
    seen = posture_of(protected, rules, classic)
    assert (seen.protected, seen.force_push, seen.reviews, seen.admins_bypass, seen.stale_dismissed) == expected
    assert seen.manual_merge is False


@pytest.mark.parametrize(
    ("private", "scopes", "missing"),
    [
        (True, ("repo",), 0), (True, ("public_repo",), 1), (True, (), 1), (True, None, 0),
        (False, ("public_repo",), 0), (False, ("repo",), 0), (False, ("read:org",), 1),
    ],
)  # fmt: skip
def test_scopes(private: bool, scopes: tuple[str, ...] | None, missing: int):
    assert len(missing_words({"private": private, "archived": False}, scopes, may_push=True)) == missing


def test_what_else_is_missing():
    words = missing_words({"private": True, "archived": True}, None, may_push=False)
    assert [("archived" in one, "push" in one) for one in words] == [(True, False), (False, True)]


def test_a_moment():
    assert utc("2026-11-26T10:00:00Z") == utc("2026-11-26T11:00:00+01:00") == utc("2026-11-26T10:00:00")
