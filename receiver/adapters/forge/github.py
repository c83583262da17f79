"""GitHub's REST API (github.com and GitHub Enterprise Server): https://docs.github.com/en/rest

Decides how GitHub's words become ours: its test merge is no merge, a review that somebody dismissed does not stand,
and whoever approved may write only if the forge says so for that very account. Refuses answers about another
repository than ours: a path can be given to somebody else, the number stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from receiver.adapters.forge.client import Answer, ForgeClient
from receiver.adapters.forge.github_app import HEADERS, AppTokens, Identity, Token
from receiver.adapters.forge.github_words import account_of, expiry_in, missing_words, posture_of, review_of, utc
from receiver.adapters.forge.remote import Hook, Rights
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review
from receiver.errors import Conflict, Refused, Unavailable

_PREFIX = "gitmedic"
_EVENTS = ("pull_request", "pull_request_review", "push")
_STYLES = ("merge", "squash", "rebase")
#: kinds of activity that put a commit at the tip of a branch
_PUSHES = frozenset({"push", "force_push", "branch_creation"})
_PER_PAGE = 100


class GitHub:
    """The dialect of GitHub, with a token or as an App."""

    name = "github"
    most_text = 60_000

    def __init__(
        self, settings: ForgeSettings, base: str, *, secret: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings, self._base = settings, base
        self._repo = f"repos/{quote(settings.path)}"
        self._own_number = settings.account
        self._client = ForgeClient(settings, self._authorize, headers=HEADERS, transport=transport)
        self._identity: Identity
        if settings.app_id:
            self._identity = AppTokens(settings, secret, transport)
        else:
            self._identity = Token(secret, self._client)

    @property
    def skew(self) -> timedelta:
        """How far its clock is ahead of ours."""
        return self._client.skew

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._identity.aclose()

    # --- pull requests

    async def create(self, opening: Opening) -> PullRequest:
        """One POST, and one for its labels; `Conflict` when there is one of this branch already."""
        doing = f"opening a pull request for branch {opening.branch!r} on GitHub"
        body = {"title": opening.title, "head": opening.branch, "base": opening.base, "body": opening.body}
        answer = await self._client.write("POST", f"{self._repo}/pulls", body, doing=doing, fine=frozenset({422}))
        if answer.status == 422:
            error = self._client.error(answer, doing)
            raise Conflict(str(error)) if "already exists" in str(error) else error
        pull = await self._pull(answer.body, doing, with_reviews=False)
        if opening.labels:
            await self._add_labels(pull.number, list(opening.labels), doing)
        return pull

    async def find(self, branch: str) -> PullRequest | None:
        """The newest of this branch of the repository itself, open ones first; never one of a fork."""
        doing = f"looking for the pull request of branch {branch!r} on GitHub"
        owner = self._settings.path.partition("/")[0]
        params = {"head": f"{owner}:{branch}", "state": "all", "per_page": _PER_PAGE}
        found = await self._client.pages(f"{self._repo}/pulls", doing=doing, params=params)
        own = [one for one in found if one["head"]["ref"] == branch and _is_own(one)]
        if not own:
            return None
        best = max(own, key=lambda one: (one["state"] == "open", one["number"]))
        return await self.read(best["number"])

    async def read(self, number: int) -> PullRequest:
        """As it is now; reviews with what each reviewer may do now."""
        doing = f"reading pull request {number} on GitHub"
        return await self._pull(await self._client.get(f"{self._repo}/pulls/{number}", doing=doing), doing)

    async def write_comment(self, number: int, text: str, id: str | None) -> str:
        """Edit that comment, or write one; gives its id. A deleted one is written anew."""
        doing, body = f"commenting on pull request {number} on GitHub", {"body": text}
        if id is not None:
            place = f"{self._repo}/issues/comments/{quote(id, safe='')}"
            edited = await self._client.write("PATCH", place, body, doing=doing, fine=frozenset({404, 410}))
            if edited.status < 300:
                return str(edited.body["id"])
        written = await self._client.write("POST", f"{self._repo}/issues/{number}/comments", body, doing=doing)
        return str(written.body["id"])

    async def comments_of_ours(self, number: int) -> list[str]:
        """Ids of our own account's comments, oldest first."""
        doing, own = f"reading the comments of pull request {number} on GitHub", await self._own()
        place, params = f"{self._repo}/issues/{number}/comments", {"per_page": _PER_PAGE}
        found = await self._client.pages(place, doing=doing, params=params)
        return [str(id_) for id_ in sorted(one["id"] for one in found if one["user"] and str(one["user"]["id"]) == own)]

    async def mark(self, number: int, marks: Marks) -> None:
        """Labels and the commit status; what is there already is not written again."""
        doing = f"marking pull request {number} on GitHub"
        place = f"{self._repo}/issues/{number}/labels"
        there = await self._client.pages(place, doing=doing, params={"per_page": _PER_PAGE})
        names, wanted = [one["name"] for one in there], {name.lower() for name in marks.labels}
        if missing := [name for name in marks.labels if name.lower() not in {one.lower() for one in names}]:
            await self._add_labels(number, missing, doing)
        for name in names:
            # one by one: setting the whole list would undo what a person does meanwhile
            if name.lower().startswith(_PREFIX) and name.lower() not in wanted:
                away = f"{place}/{quote(name, safe='')}"
                await self._client.write("DELETE", away, None, doing=doing, fine=frozenset({404}))
        await self._status(marks, doing)

    async def close(self, number: int) -> None:
        """Close it unmerged; harmless when it is closed."""
        doing = f"closing pull request {number} on GitHub"
        await self._client.write("PATCH", f"{self._repo}/pulls/{number}", {"state": "closed"}, doing=doing)

    async def merge(self, number: int, head_sha: str) -> None:
        """Merge exactly this head, in the first style that the repository allows."""
        doing = f"merging pull request {number} on GitHub"
        for style in _STYLES:
            answer = await self._client.write(
                "PUT", f"{self._repo}/pulls/{number}/merge", {"sha": head_sha, "merge_method": style}, doing=doing,
                fine=frozenset({403, 405, 409}),
            )  # fmt: skip
            if answer.status < 300:
                return
            if answer.status != 405 or not _is_about_style(answer):
                break
        raise await self._why_not_merged(number, answer, doing)

    # --- the repository

    async def account(self) -> Account:
        """Who the token is."""
        return await self._identity.account()

    async def posture(self, base: str) -> Posture:
        """Protection of a branch: rulesets can be read by all, the older protection by administrators alone."""
        doing, name = f"reading the protection of branch {base!r} on GitHub", quote(base, safe="")
        branch = await self._client.get(f"{self._repo}/branches/{name}", doing=doing)
        rules = await self._client.get(
            f"{self._repo}/rules/branches/{name}", doing=doing, params={"per_page": _PER_PAGE}, missing=True
        )
        place = f"{self._repo}/branches/{name}/protection"
        answer = await self._client.answer(place, doing=doing, fine=frozenset({403, 404}))
        classic = answer.body if answer.status == 200 else None
        if answer.status == 404 and answer.body["message"] == "Branch not protected":
            classic = {}  # said to administrators alone; others are told that there is nothing at all
        return posture_of(bool(branch["protected"]), rules or [], classic)

    async def changed(self, since: datetime | None) -> list[int]:
        """Newest first; the first page by a conditional request, which costs nothing while nothing changed."""
        doing = "asking GitHub which pull requests changed"
        params = {
            "base": self._base, "state": "open" if since is None else "all", "sort": "updated", "direction": "desc",
            "per_page": _PER_PAGE,
        }  # fmt: skip
        # GitHub's moments have whole seconds: one of the same second may be newer
        from_ = since.replace(microsecond=0) if since is not None else None
        found = await self._client.newest(
            f"{self._repo}/pulls", doing=doing, params=params,
            enough=lambda one: from_ is not None and utc(one["updated_at"]) < from_,
        )  # fmt: skip
        # one that changes while the pages are read is shown on two of them
        numbers = list(dict.fromkeys(one["number"] for one in found))
        return numbers if since is not None else sorted(numbers, reverse=True)

    async def behind(self, commit: str) -> int | None:
        """The merged pull request of a commit: the one whose merge it is, else the one that brought it."""
        doing = f"asking GitHub what brought commit {commit[:12]}"
        place = f"{self._repo}/commits/{quote(commit, safe='')}/pulls"
        answer = await self._client.answer(place, doing=doing, fine=frozenset({404, 422}))
        if answer.status != 200:
            return None
        merged = [one for one in answer.body if one["merged_at"] and one["base"]["ref"] == self._base]
        merged.sort(key=lambda one: one["merge_commit_sha"] != commit)
        return merged[0]["number"] if merged else None

    async def login(self) -> tuple[str, str]:
        """User and password for git over HTTP."""
        return "x-access-token", await self._identity.token()

    async def rights(self) -> Rights:
        """What this token may do in the repository."""
        doing = f"asking GitHub about {self._settings.path!r}"
        answer = await self._client.answer(self._repo, doing=doing)
        said, scopes = answer.body, self._identity.scopes(answer.headers)
        may = said.get("permissions") or {}
        lacking = await self._identity.lacking()
        may_push = bool(may.get("push")) or (bool(self._settings.app_id) and not lacking)
        return Rights(
            account=await self.account(),
            repository=str(said["id"]),
            full_name=said["full_name"],
            default_branch=said["default_branch"],
            archived=bool(said["archived"]),
            private=bool(said["private"]),
            may_push=may_push,
            is_admin=bool(may.get("admin") or may.get("maintain")),
            scopes=scopes or (),
            missing=(*missing_words(said, scopes, may_push=may_push), *lacking),
            expires_at=expiry_in(answer.headers),
        )

    async def hooks(self) -> list[Hook]:
        """Webhooks of the repository; needs the right to administer them."""
        doing = "reading the webhooks of the repository on GitHub"
        return [_hook(one) for one in await self._client.pages(f"{self._repo}/hooks", doing=doing)]

    async def make_hook(self, url: str, secret: str) -> Hook:
        """One that sends signed JSON for what gitmedic listens to."""
        body = {
            "name": "web", "active": True, "events": list(_EVENTS),
            "config": {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"},
        }  # fmt: skip
        made = await self._client.write("POST", f"{self._repo}/hooks", body, doing=f"making a webhook to {url!r}")
        return _hook(made.body)

    async def drop_hook(self, id: str) -> None:
        """Take one away; harmless when it is gone."""
        place, doing = f"{self._repo}/hooks/{quote(id, safe='')}", "taking a webhook away on GitHub"
        await self._client.write("DELETE", place, None, doing=doing, fine=frozenset({404}))

    # --- inside

    async def _authorize(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._identity.token()}"}

    async def _own(self) -> str:
        """Our account's number: as it was connected, or as GitHub says."""
        if not self._own_number:
            self._own_number = (await self.account()).id
        return self._own_number

    async def _pull(self, said: Mapping[str, Any], doing: str, *, with_reviews: bool = True) -> PullRequest:
        repository = str(said["base"]["repo"]["id"])
        if self._settings.repository and repository != self._settings.repository:
            raise Refused(
                f"{doing}: {self._settings.path!r} is repository {repository} now, "
                f"and ours was {self._settings.repository}",
                next_step="if that is meant: gitmedic forge connect",
                reason="moved",
            )
        is_merged = bool(said["merged_at"])
        state = "merged" if is_merged else said["state"]
        author = account_of(said["user"]) if said["user"] else Account(forge=self.name, id="ghost", login="ghost")
        head, is_own = said["head"], _is_own(said)
        return PullRequest(
            number=said["number"],
            url=said["html_url"],
            repository=repository,
            state=state,
            head_sha=head["sha"],
            head_ref=head["ref"],
            base_ref=said["base"]["ref"],
            author=author,
            same_repository=is_own,
            draft=bool(said.get("draft")),
            # of an open one it is a merge that GitHub tried, and of a closed one the last that it tried
            merge_sha=said["merge_commit_sha"] if is_merged else None,
            merged_by=account_of(said["merged_by"]) if is_merged and said.get("merged_by") else None,
            merged_at=utc(said["merged_at"]) if is_merged else None,
            closed_by=await self._closed_by(said["number"], doing) if state == "closed" else None,
            pushed_by=await self._pushed_by(head, doing) if is_own and author.id != await self._own() else None,
            settling=is_merged and not said["merge_commit_sha"],
            reviews=await self._reviews(said["number"], doing) if with_reviews else (),
        )

    async def _reviews(self, number: int, doing: str) -> tuple[Review, ...]:
        place, params = f"{self._repo}/pulls/{number}/reviews", {"per_page": _PER_PAGE}
        found = await self._client.pages(place, doing=doing, params=params)
        reviews = [review for one in found if (review := review_of(one)) is not None]
        asked = {review.by.id: review.by for review in reviews if review.verdict == "approve" and review.stands}
        writers = {id_ for id_, account in asked.items() if await self._may_write(account, doing)}
        return tuple(
            review.model_copy(update={"may_write": review.by.id in writers}) if review.by.id in asked else review
            for review in sorted(reviews, key=lambda review: review.at)
        )

    async def _may_write(self, account: Account, doing: str) -> bool:
        """By the account's number: its login may belong to somebody else by now."""
        place = f"{self._repo}/collaborators/{quote(account.login, safe='')}/permission"
        said = await self._client.get(place, doing=doing, missing=True)
        if not said or not said.get("user") or str(said["user"]["id"]) != account.id:
            return False
        return said["permission"] in ("write", "admin")

    async def _closed_by(self, number: int, doing: str) -> Account | None:
        said = await self._client.get(f"{self._repo}/issues/{number}", doing=doing)
        return account_of(said["closed_by"]) if said.get("closed_by") else None

    async def _pushed_by(self, head: Mapping[str, Any], doing: str) -> Account | None:
        """By the repository's activity; a forge that has none (or not for us) leaves it to our own webhooks."""
        params = {"ref": f"refs/heads/{head['ref']}", "per_page": _PER_PAGE}
        place = f"{self._repo}/activity"
        answer = await self._client.answer(place, doing=doing, params=params, fine=frozenset({403, 404}))
        if answer.status != 200:
            return None
        pushes = [one for one in answer.body if one["after"] == head["sha"] and one["activity_type"] in _PUSHES]
        newest = max(pushes, key=lambda one: (utc(one["timestamp"]), one["id"]), default=None)
        return account_of(newest["actor"]) if newest and newest["actor"] else None

    async def _add_labels(self, number: int, names: Sequence[str], doing: str) -> None:
        await self._client.write("POST", f"{self._repo}/issues/{number}/labels", {"labels": list(names)}, doing=doing)

    async def _status(self, marks: Marks, doing: str) -> None:
        """GitHub keeps a thousand of one commit and name, then it refuses: the same again is not sent."""
        text = " ".join(marks.text.split())
        status = {
            "state": marks.state, "context": _PREFIX, "description": text if len(text) <= 140 else f"{text[:139]}…",
            "target_url": marks.target_url or None,
        }  # fmt: skip
        place = f"{self._repo}/commits/{quote(marks.head_sha, safe='')}/status"
        shown = await self._client.get(place, doing=doing, params={"per_page": _PER_PAGE})
        for one in shown["statuses"]:
            if one["context"].lower() == _PREFIX and all(one.get(key) == status[key] for key in status):
                return
        await self._client.write("POST", f"{self._repo}/statuses/{quote(marks.head_sha, safe='')}", status, doing=doing)

    async def _why_not_merged(self, number: int, answer: Answer, doing: str) -> Exception:
        error = self._client.error(answer, doing)
        if isinstance(error, Unavailable | Conflict):
            return error
        said = str(error)
        if "Base branch was modified" in said:
            return Unavailable(said, after_seconds=5)
        if "not mergeable" in said:
            pull = await self._client.get(f"{self._repo}/pulls/{number}", doing=doing)
            if pull["state"] == "open" and pull["mergeable"] is None:
                return Unavailable(f"{said} (it is still working that out)", after_seconds=5)
        step = f"the approval is recorded; merge it on the forge: {self._settings.url}/pull/{number}"
        return Refused(said, next_step=step, reason="not_merged")


def _is_own(pull: Mapping[str, Any]) -> bool:
    """The head lies in the base's own repository; a fork that was deleted leaves null."""
    repository = pull["head"]["repo"]
    return bool(repository) and repository["id"] == pull["base"]["repo"]["id"]


def _is_about_style(answer: Answer) -> bool:
    said = str((answer.body or {}).get("message", "") if isinstance(answer.body, dict) else "").lower()
    styles = ("merge commits", "squash merg", "rebase merg", "squashing", "rebasing")
    return any(style in said for style in styles) and ("not allowed" in said or "must not contain" in said)


def _hook(said: Mapping[str, Any]) -> Hook:
    return Hook(id=str(said["id"]), url=str(said["config"].get("url", "")), active=bool(said["active"]))
