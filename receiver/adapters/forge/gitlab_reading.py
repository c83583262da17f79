"""What GitLab's answers mean; values in, values out.

Decides which approvals are of the newest version, what hides that they are still being taken back, and which
protection counts as one. What an answer leaves out is None or does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from receiver.adapters.forge.remote import Hook
from receiver.domain.forge import Account, Posture, Review
from receiver.errors import Refused, Unavailable

DEVELOPER, MAINTAINER = 30, 40
#: `approvals_syncing` says that approvals are being taken back; GitLab names `preparing`, `checking` and `unchecked`
#: before it, so each of these may hide it. All of them pass: reading a merge request starts the check.
CHECKING = frozenset({"approvals_syncing", "preparing", "checking", "unchecked"})
#: names that GitLab itself gives to the accounts of project and group tokens, and to service accounts
_BOT = re.compile(r"^((project|group)_\d+_bot(\d*|_[0-9a-f]+)|service_account_.+)$")
#: a line that GitLab would obey, wherever it stands
_COMMAND = re.compile(r"^([ \t>]*)/(?=[A-Za-z_])", re.MULTILINE)
_NOBODY = Account(forge="gitlab", id="", login="")

Said = tuple[Mapping[str, Any], Review]


def is_bot_name(login: str) -> bool:
    """Whether it is the name of a token's own account."""
    return bool(_BOT.match(login))


def moment(text: str | None) -> datetime | None:
    """ISO 8601 with a zone; GitLab's own clock."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def day(text: str | None) -> datetime | None:
    """The beginning of a day, at which GitLab lets tokens end."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def state_of(given: Mapping[str, Any]) -> Literal["open", "merged", "closed"]:
    """`locked` is a merge under way: not merged yet."""
    states: dict[str, Literal["open", "merged", "closed"]]
    states = {"opened": "open", "locked": "open", "merged": "merged", "closed": "closed"}
    return states[given["state"]]


def is_here(given: Mapping[str, Any]) -> bool:
    """The head lies in the base's own project; a deleted fork has no number."""
    return given.get("source_project_id") is not None and given["source_project_id"] == given["target_project_id"]


def newest(versions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last version of a merge request: its head and when it came; empty when there is none yet."""
    return max(versions, key=lambda one: int(one["id"]), default={})


def reviews_of(
    approvals: Mapping[str, Any],
    words: Sequence[Mapping[str, Any]],
    versions: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
) -> list[Said]:
    """Each user with what they said, oldest first.

    `words`: the reviewers with their states. Somebody who asked for changes is heard on whatever head there is, until
    they say otherwise; as GitLab does not date it, it counts as the latest word that it can be.
    """
    version, head = newest(versions), given.get("sha") or ""
    pushed_at = moment(version.get("created_at"))
    updated_at = moment(given["updated_at"]) or datetime.now(UTC)
    is_newest = pushed_at is not None and version.get("head_commit_sha") == head
    found: list[Said] = []
    for one in approvals.get("approved_by") or []:
        at = moment(one.get("approved_at"))
        counts = is_newest and at is not None and pushed_at is not None and at > pushed_at
        found.append((one["user"], _word("approve", at or updated_at, _head_at(versions, at), counts)))
    found += [
        (one["user"], _word("reject", updated_at, head, True))
        for one in words
        if one.get("state") == "requested_changes"
    ]
    return sorted(found, key=lambda one: one[1].at)


def _head_at(versions: Sequence[Mapping[str, Any]], at: datetime | None) -> str:
    """What an approval of that moment can have been about; nothing when it has no date."""
    seen = [one for one in versions if at is not None and (moment(one["created_at"]) or at) < at]
    return str(newest(seen).get("head_commit_sha") or "")


def _word(verdict: Literal["approve", "reject"], at: datetime, head: str, stands: bool) -> Review:
    return Review(by=_NOBODY, head_sha=head, verdict=verdict, at=at, via="forge", stands=stands)


def role_in(project: Mapping[str, Any], member: Mapping[str, Any]) -> int:
    """The highest access level that the project says of whoever asks."""
    permissions = project.get("permissions") or {}
    levels = [(permissions.get(name) or {}).get("access_level") for name in ("project_access", "group_access")]
    return max([member.get("access_level") or 0, *(level or 0 for level in levels)])


def posture_of(
    branch: Mapping[str, Any] | None,
    rule: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
    rules: Sequence[Mapping[str, Any]] | None,
) -> Posture:
    """Protection as the branch itself says it (a rule by wildcard too), and its details where the rule is seen.

    Whoever may push past merge requests is what other forges call an administrator's bypass; GitLab's own word for
    nobody is access level 0. It calls nothing merged whose commits are not in the base.
    """
    protected = bool(branch["protected"]) if branch else None
    if rule is not None:
        protected = True
    if not protected:
        return Posture(protected=protected, force_push=None if protected is None else True)
    pushers = rule.get("push_access_levels") if rule else None
    return Posture(
        protected=True,
        force_push=rule.get("allow_force_push") if rule else None,
        reviews=max((one.get("approvals_required") or 0 for one in rules), default=0) if rules is not None else None,
        admins_bypass=any(one.get("access_level") != 0 for one in pushers) if pushers is not None else None,
        manual_merge=False,
        stale_dismissed=settings.get("reset_approvals_on_push") if settings else None,
    )


def inert(text: str) -> str:
    """Without NUL, and with no line that GitLab would obey as a command of our account (`/merge`, `/approve`)."""
    return _COMMAND.sub(r"\1\\/", text.replace("\0", ""))


def made_of(body: Any, doing: str) -> dict[str, Any]:
    """The object that a write answered with."""
    if not isinstance(body, dict):
        raise Unavailable(f"{doing}: GitLab's answer is no object")
    return body


def hook_of(given: Mapping[str, Any]) -> Hook:
    """Not one that GitLab has switched off after too many failures."""
    is_active = given.get("alert_status") in (None, "executable")
    return Hook(id=str(given["id"]), url=given["url"], active=is_active)


def missing_words(level: int, scopes: Sequence[str], *, archived: bool) -> tuple[str, ...]:
    """What a token lacks; no scope at all means that GitLab does not list them."""
    said = {
        "scope `api` of the token": bool(scopes) and "api" not in scopes,
        "role Developer in the project (Maintainer only to make the webhook)": level < DEVELOPER,
        "the project is archived: nothing can be written to it": archived,
    }
    return tuple(words for words, is_so in said.items() if is_so)


def why_not_merged(status: int, given: Mapping[str, Any], base: str, doing: str) -> Exception:
    """After a merge was refused: what passes by itself, and what somebody must mend.

    401 and 403 are this account's rights in the base: everything else of its token was good a moment ago.
    """
    url, said = given["web_url"], str(given.get("detailed_merge_status") or "")
    if status in (401, 403):
        return Refused(
            f"{doing}: our account may not merge into {base!r} there",
            next_step=f"merge it at {url}, or let Developers merge in the branch's protection",
            reason="not_merged",
        )
    if state_of(given) == "merged" or said in (*CHECKING, "mergeable", ""):
        return Unavailable(f"{doing}: GitLab is not ready to merge it ({said or 'it does not say why'})")
    return Refused(
        f"{doing}: GitLab does not let it: {said}",
        next_step=f"see what it waits for at {url}, and merge it there",
        reason="not_merged",
    )
