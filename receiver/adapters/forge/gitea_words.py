"""Gitea's and Forgejo's answers in our words; no request is made here.

Decides that a review is dated by its last word but never after the same person's next one, that what a token cannot
see of a branch's protection stays unknown, and that a head without a branch of its own is no head of the repository.
Refuses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.adapters.forge.gitea_glob import is_glob, matches
from receiver.domain.forge import Account, Posture, Review

_VERDICTS = {"APPROVED": "approve", "REQUEST_CHANGES": "reject"}
#: titles of drafts, for versions that do not say so
_DRAFTS = ("wip:", "[wip]")
#: a push so soon after the opening cannot be told from it
_OPENING = timedelta(seconds=2)

#: rights that let push
WRITES = frozenset({"write", "admin", "owner"})


def account_of(user: Mapping[str, Any]) -> Account:
    """A user; numbers below one are the forge's own: who was deleted, and its workflows."""
    return Account(forge="gitea", id=str(user["id"]), login=str(user["login"]), is_bot=user["id"] < 1)


def person_of(user: Mapping[str, Any] | None) -> Account | None:
    """As `account_of`; None where nobody is behind it any more."""
    return account_of(user) if user and user["id"] > 0 else None


def utc(text: str) -> datetime:
    """A moment as Gitea writes it."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def is_own(pull: Mapping[str, Any]) -> bool:
    """The head is a branch of the base's repository: no fork's, and none pushed to `refs/for`, which has no branch."""
    return bool(pull["head"]["label"]) and pull["head"]["repo_id"] == pull["base"]["repo_id"]


def is_draft(pull: Mapping[str, Any]) -> bool:
    """As it says, else by its title."""
    said = pull.get("draft")
    return bool(said) if said is not None else str(pull["title"]).lower().startswith(_DRAFTS)


def merger_of(pull: Mapping[str, Any]) -> Account | None:
    """Who merged, where that is known.

    With `autodetect_manual_merge` a push to the base counts as a merge, by whoever pushed there last, or by whoever the
    commit says wrote it. Forgejo, and Gitea before 1.25, do not tell whether it is on: there nobody's name is believed.
    """
    detects = (pull["base"].get("repo") or {}).get("autodetect_manual_merge")
    return person_of(pull.get("merged_by")) if detects is False else None


def reviews_of(found: Sequence[Mapping[str, Any]]) -> tuple[Review, ...]:
    """Those that say something, oldest first.

    `submitted_at` is when a review was begun, and it may be sent off much later; `updated_at` moves also when an old
    one is taken back or restored.
    """
    reviews: list[Review] = []
    bounds: dict[str, datetime] = {}
    for one in sorted(found, key=lambda one: int(one["id"]), reverse=True):
        by, verdict = person_of(one.get("user")), _VERDICTS.get(one["state"])
        if by is None or verdict is None:
            continue
        at = max(utc(one[key]) for key in ("submitted_at", "updated_at") if one.get(key))
        bounds[by.id] = at = min(at, bounds.get(by.id, at))
        stands = not one["dismissed"] and not one["stale"]
        reviews.append(Review.model_validate({
            "by": by, "head_sha": one["commit_id"] or "", "verdict": verdict, "at": at, "via": "forge",
            "stands": stands,
        }))  # fmt: skip
    return tuple(sorted(reversed(reviews), key=lambda review: review.at))


def closer_in(events: Sequence[Mapping[str, Any]]) -> Account | None:
    """Who closed it last."""
    return next((person_of(one.get("user")) for one in reversed(events) if one["type"] == "close"), None)


def pusher_in(events: Sequence[Mapping[str, Any]], head_sha: str, opened_at: datetime) -> Account | None:
    """Who pushed exactly this head, by the newest push that brought it.

    Opening a pull request is shown as a push by whoever opens it, and tells nothing of who pushed the branch before.
    """
    for one in reversed(events):
        if one["type"] != "pull_push":
            continue
        if utc(one["created_at"]) <= opened_at + _OPENING:
            return None
        try:
            said = json.loads(one.get("body") or "{}")
        except ValueError:
            return None
        commits = said.get("commit_ids") or []
        # of a forced push: the head before and the head after
        is_this = head_sha in (commits[-1:] if said.get("is_force_push") else commits)
        return person_of(one.get("user")) if is_this else None  # else a newer push than those that we are told of
    return None


def rule_for(rules: Sequence[Mapping[str, Any]], branch: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The rule in force for a branch: the one that the forge names, else the first that matches in its own order."""
    named = branch.get("effective_branch_protection_name")
    if named:
        return next((rule for rule in rules if _name(rule) == named), None)
    ordered = sorted(
        rules, key=lambda rule: (rule.get("priority") or 0, is_glob(_name(rule)), str(rule.get("created_at") or ""))
    )
    return next((rule for rule in ordered if matches(_name(rule), branch["name"])), None)


def posture_of(
    repository: Mapping[str, Any], branch: Mapping[str, Any], rules: Sequence[Mapping[str, Any]] | None
) -> Posture:
    """From the repository, its branch, and its rules (None: only administrators see them)."""
    by_hand = [repository[key] for key in ("allow_manual_merge", "autodetect_manual_merge") if key in repository]
    manual_merge = any(by_hand) if by_hand else None
    if not branch["protected"]:
        return Posture(
            protected=False, force_push=True, reviews=0, manual_merge=manual_merge, stale_dismissed=False
        )  # fmt: skip
    rule = rule_for(rules, branch) if rules is not None else None
    return Posture(
        protected=True,
        # older versions have no such switch: there a protected branch is never rewritten
        force_push=bool(rule.get("enable_force_push")) if rule is not None else None,
        reviews=branch.get("required_approvals"),
        admins_bypass=_bypass(rule) if rule is not None else None,
        manual_merge=manual_merge,
        stale_dismissed=bool(rule.get("dismiss_stale_approvals")) if rule is not None else None,
    )


def missing_words(repository: Mapping[str, Any], *, reads_issues: bool, sees_writers: bool) -> tuple[str, ...]:
    """What gitmedic needs and this token or account lacks."""
    found = []
    if repository.get("archived"):
        found.append("the repository is archived: nothing can be written to it")
    if not repository.get("has_pull_requests", True):
        found.append("pull requests are switched off in the repository")
    if not (repository.get("permissions") or {}).get("push"):
        found.append("the account may not write to the repository, or the token lacks the scope write:repository")
    if not reads_issues:
        found.append("the token lacks the scope write:issue (comments and labels)")
    if not sees_writers:
        found.append(
            "a team of the organisation only reads the repository, so whose approvals there count cannot be seen: let "
            "every team that has it write, or make approvers collaborators and the account an administrator of it"
        )
    return tuple(found)


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("rule_name") or rule.get("branch_name") or "")


def _bypass(rule: Mapping[str, Any]) -> bool:
    """Gitea and Forgejo each have a switch of their own; before they had one, administrators passed."""
    if rule.get("enable_bypass_allowlist") and (
        rule.get("bypass_allowlist_usernames") or rule.get("bypass_allowlist_teams")
    ):
        return True
    return not (rule.get("block_admin_merge_override") or rule.get("apply_to_admins"))


def team_writes(team: Mapping[str, Any]) -> bool:
    """By its right to the code; administrators have all rights and name none."""
    if team.get("permission") in ("admin", "owner"):
        return True
    units = team.get("units_map") or {}
    return (units.get("repo.code") if units else team.get("permission")) in WRITES
