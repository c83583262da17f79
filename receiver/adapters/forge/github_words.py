"""GitHub's answers in our words; no request is made here.

Decides that what a token cannot see of a branch's protection stays unknown instead of good or bad, and that
comments and drafts of reviews say nothing. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from receiver.domain.forge import Account, Posture, Review

_VERDICTS = {"APPROVED": "approve", "CHANGES_REQUESTED": "reject", "DISMISSED": "approve"}


def account_of(user: Mapping[str, Any]) -> Account:
    """A user of GitHub."""
    return Account(forge="github", id=str(user["id"]), login=str(user["login"]), is_bot=user.get("type") == "Bot")


def utc(text: str) -> datetime:
    """A moment as GitHub writes it."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def expiry_in(headers: Mapping[str, str]) -> datetime | None:
    """When a personal token ends, as GitHub says beside every answer; tokens without an end and Apps have none."""
    said = headers.get("github-authentication-token-expiration", "").replace(" UTC", " +0000")
    try:
        return datetime.strptime(said, "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None


def review_of(said: Mapping[str, Any]) -> Review | None:
    """One review; None for those that say nothing, or that nobody is behind any more."""
    verdict = _VERDICTS.get(said["state"])
    if verdict is None or not said["user"] or not said.get("submitted_at"):
        return None
    return Review.model_validate({
        "by": account_of(said["user"]),
        "head_sha": said["commit_id"] or "",
        "verdict": verdict,
        "at": utc(said["submitted_at"]),
        "via": "forge",
        # what a dismissed one said is not told; as it does not stand, that makes no difference
        "stands": said["state"] != "DISMISSED",
    })  # fmt: skip


def posture_of(is_protected: bool, rules: Sequence[Mapping[str, Any]], classic: Mapping[str, Any] | None) -> Posture:
    """From the branch, the rules of its rulesets, and the older protection (None: it cannot be seen, or is not)."""
    kinds = {rule["type"] for rule in rules}
    asked = [rule.get("parameters") or {} for rule in rules if rule["type"] == "pull_request"]
    #: whether all there is of it has been seen
    seen = classic is not None or not is_protected
    classic = classic or {}
    reviews = classic.get("required_pull_request_reviews")
    counts = [one.get("required_approving_review_count", 0) for one in asked]
    if reviews is not None:
        counts.append(reviews.get("required_approving_review_count", 0))
    dismissed = [one.get("dismiss_stale_reviews_on_push", False) for one in asked]
    dismissed += [reviews.get("dismiss_stale_reviews", False)] if reviews is not None else []
    if "non_fast_forward" in kinds:
        force_push: bool | None = False
    else:
        # protection of the older kind forbids it, unless it says otherwise
        force_push = (_enabled(classic, "allow_force_pushes") if classic else True) if seen else None
    return Posture(
        protected=is_protected or bool(kinds),
        force_push=force_push,
        reviews=max(counts, default=0) if counts or seen else None,
        admins_bypass=_bypass(classic, reviews, by_rules=bool(asked)) if classic else None,
        manual_merge=False,
        stale_dismissed=True if any(dismissed) else (False if seen else None),
    )


def _bypass(classic: Mapping[str, Any], reviews: Mapping[str, Any] | None, *, by_rules: bool) -> bool | None:
    """Who may pass a ruleset cannot be read here; the older protection names them."""
    named = (reviews or {}).get("bypass_pull_request_allowances") or {}
    passes = not _enabled(classic, "enforce_admins") or any(named.get(kind) for kind in ("users", "teams", "apps"))
    if by_rules and (passes or reviews is None):
        return None
    return passes


def _enabled(said: Mapping[str, Any], name: str) -> bool:
    return bool((said.get(name) or {}).get("enabled"))


def missing_words(repository: Mapping[str, Any], scopes: Sequence[str] | None, *, may_push: bool) -> tuple[str, ...]:
    """What the repository's own answer shows to be missing. Scopes are those of a classic token; others have none."""
    found = []
    if repository["archived"]:
        found.append("the repository is archived: nothing can be written to it")
    if not may_push:
        found.append("the account may not push to the repository (role Write)")
    enough = {"repo"} if repository["private"] else {"repo", "public_repo"}
    if scopes is not None and not enough & set(scopes):
        found.append(f"the token lacks the scope {'repo' if repository['private'] else 'public_repo'}")
    return tuple(found)
