"""GitLab's REST API (version 4; GitLab 16 or newer), spoken for `RemoteForge`.

Decides that an approval counts for the head only when it is dated after the newest version of the merge request:
GitLab binds no approval to a commit, and takes old ones back seconds after a push, or never (Free). An approval
without a date cannot be told from an old one, so it does not stand. Refuses another project than the configured
one at the same path, and text that GitLab would read as a command of ours (a line that begins with `/`).
https://docs.gitlab.com/api/merge_requests/ and its neighbours say what is used here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from receiver.adapters.forge import gitlab_reading as reading
from receiver.adapters.forge.client import ForgeClient
from receiver.adapters.forge.gitlab_reading import (
    CHECKING,
    DEVELOPER,
    MAINTAINER,
    inert,
    is_here,
    made_of,
    newest,
    state_of,
)
from receiver.adapters.forge.remote import Hook, Rights
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review
from receiver.errors import Conflict, Refused, Unavailable

_PAGE = 100
#: pauses while GitLab works out whether it can merge what was made or pushed a moment ago
_READY = (0.2, 0.5, 1.0, 2.0, 2.0)
#: how long the project at our path is believed to be ours
_KNOWN_SECONDS = 300.0
_MOST_TITLE, _MOST_STATUS = 255, 255
_STATES = {"pending": "pending", "success": "success", "failure": "failed", "error": "failed"}


class GitLab:
    """The Dialect of GitLab."""

    name = "gitlab"
    most_text = 900_000

    def __init__(
        self, settings: ForgeSettings, base: str, *, secret: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        async def authorize() -> Mapping[str, str]:
            return {"PRIVATE-TOKEN": secret}

        self._settings, self._base, self._secret = settings, base, secret
        self._client = ForgeClient(settings, authorize, transport=transport)
        self._place = f"projects/{quote(settings.path, safe='')}"
        self._known_until = 0.0
        self._own_id = settings.account
        self._bots: dict[str, bool] = {}

    @property
    def skew(self) -> timedelta:
        """How far its clock is ahead of ours."""
        return self._client.skew

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def login(self) -> tuple[str, str]:
        """Git over HTTP takes any token under this name."""
        return "oauth2", self._secret

    # --- merge requests

    async def create(self, opening: Opening) -> PullRequest:
        """One POST; GitLab answers 409 when the branch has an open one."""
        await self._check_place()
        body = {
            "source_branch": opening.branch, "target_branch": opening.base, "title": opening.title[:_MOST_TITLE],
            "description": inert(opening.body), "labels": ",".join(opening.labels), "remove_source_branch": True,
        }  # fmt: skip
        doing = f"opening a merge request for branch {opening.branch!r}"
        answer = await self._client.write("POST", f"{self._place}/merge_requests", body, doing=doing)
        return await self._pull(made_of(answer.body, doing))

    async def find(self, branch: str) -> PullRequest | None:
        """The newest of this branch of the project itself, open ones first."""
        query = {
            "source_branch": branch, "scope": "all", "state": "all", "order_by": "created_at", "sort": "desc",
            "per_page": _PAGE,
        }  # fmt: skip
        found = await self._client.pages(
            f"{self._place}/merge_requests", doing=f"looking for a merge request of {branch!r}", params=query
        )
        own = [one for one in found if is_here(one) and one["source_branch"] == branch]
        own.sort(key=lambda one: (state_of(one) == "open", one["iid"]), reverse=True)
        return await self._pull(own[0]) if own else None

    async def read(self, number: int) -> PullRequest:
        """As it is now. The approvals are read first and the head last: a push in between makes them none."""
        doing = f"reading merge request {number}"
        place = self._request(number)
        approvals = await self._client.get(f"{place}/approvals", doing=doing)
        # what a reviewer asked for is said elsewhere, and by newer versions only
        words = await self._client.get(f"{place}/reviewers", doing=doing, missing=True)
        versions = await self._client.get(f"{place}/versions", doing=doing, params={"per_page": _PAGE})
        given = await self._client.get(place, doing=doing)
        pull = await self._pull(given, newest(versions))
        said = reading.reviews_of(approvals, words or [], versions, given)
        return pull.model_copy(
            update={
                "reviews": tuple([await self._review(one, user) for user, one in said]),
                "pushed_by": await self._pushed_by(pull),
            }
        )

    async def close(self, number: int) -> None:
        """Close it; a closed one stays as it is."""
        await self._check_place()
        body = {"state_event": "close"}
        await self._client.write("PUT", self._request(number), body, doing=f"closing merge request {number}")

    async def merge(self, number: int, head_sha: str) -> None:
        """One PUT with the head that it is about, once GitLab has worked out that it can."""
        doing = f"merging merge request {number}"
        project = await self._check_place(anew=True)
        given = await self._ready(number, doing)
        if given.get("sha") != head_sha:
            raise Conflict(f"{doing}: its head is {(given.get('sha') or 'gone')[:12]} and no longer {head_sha[:12]}")
        if state_of(given) == "merged":
            return
        body = {
            "sha": head_sha,
            "squash": project.get("squash_option") in ("always", "default_on"),
            # a person's own branch is theirs to delete
            "should_remove_source_branch": str(given["author"]["id"]) == await self._own(),
        }
        # 401 and 403: this account may not merge into the base; the token itself is good
        fine = frozenset({401, 403, 405, 406, 422})
        answer = await self._client.write("PUT", f"{self._request(number)}/merge", body, doing=doing, fine=fine)
        if answer.status >= 300:
            given = await self._client.get(self._request(number), doing=doing)
            raise reading.why_not_merged(answer.status, given, self._base, doing)
        if state_of(made_of(answer.body, doing)) != "merged":
            raise Unavailable(f"{doing}: GitLab has taken it and not done it yet", after_seconds=2.0)

    # --- words of ours on one

    async def write_comment(self, number: int, text: str, id: str | None) -> str:
        """A note of ours; one that somebody deleted is written anew."""
        await self._check_place()
        body, notes = {"body": inert(text)}, f"{self._request(number)}/notes"
        doing = f"commenting on merge request {number}"
        if id is not None:
            missing = frozenset({404})
            answer = await self._client.write("PUT", f"{notes}/{quote(id, safe='')}", body, doing=doing, fine=missing)
            if answer.status != 404:
                return id
        answer = await self._client.write("POST", notes, body, doing=doing)
        return str(made_of(answer.body, doing)["id"])

    async def comments_of_ours(self, number: int) -> list[str]:
        """Our notes, oldest first; what GitLab itself writes of our acts is none."""
        query = {"sort": "asc", "order_by": "created_at", "per_page": _PAGE}
        doing = f"reading the notes of merge request {number}"
        notes = await self._client.pages(f"{self._request(number)}/notes", doing=doing, params=query)
        own = await self._own()
        return [str(one["id"]) for one in notes if str(one["author"]["id"]) == own and not one.get("system")]

    async def mark(self, number: int, marks: Marks) -> None:
        """Labels that differ, then the status of that head."""
        await self._check_place()
        doing = f"marking merge request {number}"
        given = await self._client.get(self._request(number), doing=doing)
        have = [label for label in given["labels"] if label.startswith("gitmedic")]
        add = [label for label in marks.labels if label not in have]
        drop = [label for label in have if label not in marks.labels]
        if add or drop:
            body = {"add_labels": ",".join(add), "remove_labels": ",".join(drop)}
            await self._client.write("PUT", self._request(number), body, doing=doing)
        await self._set_status(marks, given["source_branch"], doing)

    # --- the project

    async def account(self) -> Account:
        """Who the token is."""
        user = await self._client.get("user", doing="asking who our account is")
        is_bot = bool(user.get("bot")) or reading.is_bot_name(user["username"])
        self._bots[str(user["id"])] = is_bot
        return Account(forge=self.name, id=str(user["id"]), login=user["username"], is_bot=is_bot)

    async def posture(self, base: str) -> Posture:
        """Protection of a branch, as far as the account's role sees it."""
        doing, name = f"reading the protection of {base!r}", quote(base, safe="")
        branch = await self._client.get(f"{self._place}/repository/branches/{name}", doing=doing, missing=True)
        rule = await self._seen(f"{self._place}/protected_branches/{name}", doing)
        settings = await self._seen(f"{self._place}/approvals", doing)
        rules = await self._seen(f"{self._place}/approval_rules", doing)
        return reading.posture_of(branch, rule, settings, rules)

    async def changed(self, since: datetime | None) -> list[int]:
        """Into the base, newest first. The question stays the same, so that GitLab can say `not modified`."""
        query = {
            "scope": "all", "target_branch": self._base, "state": "all" if since else "opened", "sort": "desc",
            "order_by": "updated_at" if since else "created_at", "per_page": _PAGE,
        }  # fmt: skip
        found = await self._client.newest(
            f"{self._place}/merge_requests", doing="listing merge requests", params=query,
            enough=lambda one: since is not None and (reading.moment(one["updated_at"]) or since) < since,
        )  # fmt: skip
        # one that changes while the pages are read is shown on two of them
        return list(dict.fromkeys(one["iid"] for one in found))

    async def behind(self, commit: str) -> int | None:
        """The merged one that this commit of the base came with."""
        place = f"{self._place}/repository/commits/{quote(commit, safe='')}/merge_requests"
        found = await self._client.get(place, doing=f"looking for the merge request of {commit[:12]}", missing=True)
        merged = [
            one
            for one in found or []
            if state_of(one) == "merged" and one["target_branch"] == self._base and self._is_of_ours(one)
        ]
        # it may be part of several: the one whose merge it is comes first
        merged.sort(key=lambda one: commit in (one.get("merge_commit_sha"), one.get("squash_commit_sha")), reverse=True)
        return merged[0]["iid"] if merged else None

    async def rights(self) -> Rights:
        """Role and scopes; GitLab lists the scopes of the token that asks."""
        own, doing = await self.account(), "asking what this token may do"
        project = await self._client.get(self._place, doing=doing)
        token = await self._seen("personal_access_tokens/self", doing)
        level = reading.role_in(project, await self._member(own.id))
        scopes = tuple(token.get("scopes") or ()) if token else ()
        missing = reading.missing_words(level, scopes, archived=bool(project.get("archived")))
        return Rights(
            account=own, repository=str(project["id"]), full_name=project["path_with_namespace"],
            default_branch=project.get("default_branch") or "", archived=bool(project.get("archived")),
            private=project.get("visibility") != "public", scopes=scopes, missing=missing,
            may_push=level >= DEVELOPER and not project.get("archived"), is_admin=level >= MAINTAINER,
            expires_at=reading.day((token or {}).get("expires_at")),
        )  # fmt: skip

    async def hooks(self) -> list[Hook]:
        """Webhooks of the project; needs the role Maintainer."""
        found = await self._client.pages(f"{self._place}/hooks", doing="listing webhooks", params={"per_page": _PAGE})
        return [reading.hook_of(one) for one in found]

    async def make_hook(self, url: str, secret: str) -> Hook:
        """One for pushes and merge requests. A secret that begins with `whsec_` signs, any other is sent along."""
        await self._check_place()
        doing, signs = "making the webhook", secret.startswith("whsec_")
        body = {
            "url": url, "signing_token" if signs else "token": secret, "push_events": True,
            "merge_requests_events": True, "enable_ssl_verification": True,
        }  # fmt: skip
        made = made_of((await self._client.write("POST", f"{self._place}/hooks", body, doing=doing)).body, doing)
        if signs and not made.get("signing_token_present"):
            await self.drop_hook(str(made["id"]))
            raise Refused(
                f"{doing}: this GitLab does not sign its webhooks",
                next_step="give a secret that does not begin with whsec_: it is sent along as X-Gitlab-Token",
                reason="signing",
            )
        return reading.hook_of(made)

    async def drop_hook(self, id: str) -> None:
        """Take one away; harmless when it is gone."""
        place, missing = f"{self._place}/hooks/{quote(id, safe='')}", frozenset({404})
        await self._client.write("DELETE", place, None, doing="taking a webhook away", fine=missing)

    # --- inside

    def _request(self, number: int) -> str:
        return f"{self._place}/merge_requests/{number}"

    def _is_of_ours(self, given: Mapping[str, Any]) -> bool:
        return not self._settings.repository or str(given["target_project_id"]) == self._settings.repository

    async def _check_place(self, *, anew: bool = False) -> dict[str, Any]:
        """Nothing is written to a project that only has our project's path: the number says which one it is."""
        if not anew and time.monotonic() < self._known_until:
            return {}
        project: dict[str, Any] = await self._client.get(self._place, doing="looking at the project")
        if self._settings.repository and str(project["id"]) != self._settings.repository:
            raise self._another(str(project["id"]))
        self._known_until = time.monotonic() + _KNOWN_SECONDS
        return project

    def _another(self, number: str) -> Refused:
        return Refused(
            f"{self._settings.path!r} is project {number} now, and ours was {self._settings.repository}",
            next_step="if that is meant: gitmedic forge connect",
            reason="moved",
        )

    async def _own(self) -> str:
        """Our account's number: as it was connected, or as GitLab says."""
        self._own_id = self._own_id or (await self.account()).id
        return self._own_id

    async def _person(self, user: Mapping[str, Any] | None) -> Account | None:
        """An account; whether a person is behind it is asked once where the shorter form does not say it."""
        if not user:
            return None
        id_, login = str(user["id"]), user["username"]
        if "bot" in user:
            self._bots[id_] = bool(user["bot"])
        elif id_ not in self._bots:
            whole = await self._client.get(f"users/{quote(id_, safe='')}", doing="reading an account", missing=True)
            self._bots[id_] = bool((whole or {}).get("bot"))
        return Account(forge=self.name, id=id_, login=login, is_bot=self._bots[id_] or reading.is_bot_name(login))

    async def _pull(self, given: Mapping[str, Any], version: Mapping[str, Any] | None = None) -> PullRequest:
        state, head, project = state_of(given), given.get("sha") or "", str(given["target_project_id"])
        if self._settings.repository and project != self._settings.repository:
            raise self._another(project)
        merged = state == "merged"
        author = await self._person(given.get("author"))
        lags = version is not None and version.get("head_commit_sha") != head
        return PullRequest(
            number=given["iid"],
            url=given["web_url"],
            repository=project,
            state=state,
            head_sha=head,
            head_ref=given["source_branch"],
            base_ref=given["target_branch"],
            author=author or Account(forge=self.name, id="", login="(deleted)"),
            same_repository=is_here(given),
            draft=bool(given.get("draft") or given.get("work_in_progress")),
            # a fast-forward has neither: the head itself is what landed
            merge_sha=(given.get("merge_commit_sha") or given.get("squash_commit_sha") or head) if merged else None,
            merged_by=await self._person(given.get("merge_user") or given.get("merged_by")) if merged else None,
            merged_at=reading.moment(given.get("merged_at")) if merged else None,
            closed_by=await self._person(given.get("closed_by")) if state == "closed" else None,
            settling=lags or (state == "open" and given.get("detailed_merge_status") in CHECKING)
            or given["state"] == "locked",
        )  # fmt: skip

    async def _review(self, review: Review, user: Mapping[str, Any]) -> Review:
        by = await self._person(user)
        member = await self._member(str(user["id"]))
        may = bool(member) and member.get("access_level", 0) >= DEVELOPER and member.get("state", "active") == "active"
        return review.model_copy(update={"by": by, "may_write": may})

    async def _member(self, id_: str) -> dict[str, Any]:
        """Membership, inherited ones included; whoever is none has none."""
        place = f"{self._place}/members/all/{quote(id_, safe='')}"
        return await self._client.get(place, doing="reading who may push", missing=True) or {}

    async def _pushed_by(self, pull: PullRequest) -> Account | None:
        """Of a person's merge request: who pushed its head, if that is among the newest pushes."""
        if pull.author.id == await self._own() or not pull.same_repository:
            return None
        query = {"action": "pushed", "per_page": _PAGE}
        events = await self._client.get(f"{self._place}/events", doing="reading who pushed", params=query)
        for event in events:
            push = event.get("push_data") or {}
            if (push.get("commit_to"), push.get("ref")) == (pull.head_sha, pull.head_ref):
                return await self._person(event.get("author"))
        return None

    async def _seen(self, path: str, doing: str) -> Any:
        """What this role, or this edition of GitLab, may not show is None."""
        try:
            return await self._client.get(path, doing=doing, missing=True)
        except Refused as error:
            if error.reason == "forbidden":
                return None
            raise

    async def _set_status(self, marks: Marks, branch: str, doing: str) -> None:
        place = f"{self._place}/statuses/{quote(marks.head_sha, safe='')}"
        body = {
            "state": _STATES[marks.state], "name": "gitmedic", "ref": branch, "description": marks.text[:_MOST_STATUS],
        } | ({"target_url": marks.target_url} if marks.target_url else {})  # fmt: skip
        answer = await self._client.write("POST", place, body, doing=doing, fine=frozenset({400}))
        if answer.status != 400:
            return
        said = str(answer.body)[:300]
        read = f"{self._place}/repository/commits/{quote(marks.head_sha, safe='')}/statuses"
        known: Sequence[dict[str, Any]] = await self._client.get(read, doing=doing, params={"name": "gitmedic"})
        # GitLab refuses a step from a state to itself
        if "Cannot transition status" not in said or not any(one["status"] == body["state"] for one in known):
            raise Refused(f"{doing}: gitlab answers 400 {said}", next_step="gitmedic doctor", reason="http_400")

    async def _ready(self, number: int, doing: str) -> dict[str, Any]:
        """Reading one starts GitLab's check of whether it can be merged; it takes a moment."""
        for pause in (*_READY, 0.0):
            given: dict[str, Any] = await self._client.get(self._request(number), doing=doing)
            if state_of(given) != "open" or given.get("detailed_merge_status") not in CHECKING:
                break
            await asyncio.sleep(pause)
        return given
