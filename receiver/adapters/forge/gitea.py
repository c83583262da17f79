"""The REST API of Gitea (1.20 and newer) and of Forgejo, below `/api/v1` of each server.

Decides that a merge always names the head it means and one style that the repository allows, and that what these
forges call merged, official or approved is only shown: who may write is asked anew. Refuses answers about another
repository than ours, and never asks for a merge past the rules or at a later time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from receiver.adapters.forge import gitea_words as words
from receiver.adapters.forge.client import Answer, ForgeClient
from receiver.adapters.forge.gitea_lists import LIMIT, Lists
from receiver.adapters.forge.remote import Hook, Rights
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review
from receiver.errors import Conflict, Refused, Unavailable

_PREFIX = "gitmedic"
_COLOUR = "#5b6ee1"
_EVENTS = ("pull_request", "pull_request_review", "push")
#: what the repository's answer calls each way to merge
_STYLES = {
    "merge": "allow_merge_commits", "squash": "allow_squash_merge", "rebase": "allow_rebase",
    "rebase-merge": "allow_rebase_explicit",
}  # fmt: skip
_MOST_CHANGED_PAGES = 10
#: after a push the forge works for some seconds on what it brought, and whether it merges
_SETTLING = (0.3, 0.7, 1.0, 2.0, 3.0)


class Gitea:
    """The dialect of Gitea and Forgejo."""

    name = "gitea"
    most_text = 60_000

    def __init__(
        self, settings: ForgeSettings, base: str, *, secret: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings, self._base, self._secret = settings, base, secret
        self._repo = f"repos/{quote(settings.path)}"
        self._own_number = settings.account
        self._client = ForgeClient(
            settings, self._authorize, headers={"Accept": "application/json"}, transport=transport
        )
        self._lists = Lists(self._client)

    @property
    def skew(self) -> timedelta:
        """How far its clock is ahead of ours."""
        return self._client.skew

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # --- pull requests

    async def create(self, opening: Opening) -> PullRequest:
        """One POST, after its labels are there; `Conflict` when there is one of this branch already."""
        doing = f"opening a pull request for branch {opening.branch!r} on Gitea"
        body: dict[str, Any] = {
            "title": opening.title, "head": opening.branch, "base": opening.base, "body": opening.body,
        }  # fmt: skip
        if opening.labels:
            body["labels"] = await self._label_ids(opening.labels, doing)
        for pause in (*_SETTLING, None):
            answer = await self._client.write("POST", f"{self._repo}/pulls", body, doing=doing, fine=frozenset({404}))
            if answer.status != 404:
                return await self._pull(answer.body, doing, with_reviews=False)
            # the forge learns of a push some moments after git was told that it is there
            await self._client.get(self._repo, doing=doing)
            if pause is not None:
                await asyncio.sleep(pause)
        raise Unavailable(f"{doing}: the forge does not know that branch yet", after_seconds=5)

    async def find(self, branch: str) -> PullRequest | None:
        """The newest of this branch of the repository itself, open ones first; never one of a fork."""
        doing = f"looking for the pull request of branch {branch!r} on Gitea"
        place = f"{self._repo}/pulls/{quote(self._base, safe='')}/{quote(branch, safe='')}"
        first = await self._client.get(place, doing=doing, missing=True)
        if first is None:
            return None
        # it is the oldest one: later ones stand before it in the list, which has the newest first
        found = [first]
        async for one in self._lists.each(f"{self._repo}/pulls", doing, {"state": "all"}):
            if one["number"] <= first["number"]:
                break
            found.append(one)
        own = [one for one in found if self._is_of(one, branch)]
        if not own:
            return None
        best = max(own, key=lambda one: (one["state"] == "open", one["number"]))
        return await self.read(best["number"])

    async def read(self, number: int) -> PullRequest:
        """As it is now; reviews with what each reviewer may do now."""
        doing = f"reading pull request {number} on Gitea"
        return await self._pull(await self._client.get(f"{self._repo}/pulls/{number}", doing=doing), doing)

    async def write_comment(self, number: int, text: str, id: str | None) -> str:
        """Edit that comment, or write one; gives its id. A deleted one is written anew."""
        doing, body = f"commenting on pull request {number} on Gitea", {"body": text}
        if id is not None:
            place = f"{self._repo}/issues/comments/{quote(id, safe='')}"
            edited = await self._client.write("PATCH", place, body, doing=doing, fine=frozenset({404}))
            if edited.status < 300:
                return id
        written = await self._client.write("POST", f"{self._repo}/issues/{number}/comments", body, doing=doing)
        return str(written.body["id"])

    async def comments_of_ours(self, number: int) -> list[str]:
        """Ids of our own account's comments, oldest first."""
        doing, own = f"reading the comments of pull request {number} on Gitea", await self._own()
        # of a number that is not there the comments are an error of the server's own
        await self._client.get(f"{self._repo}/pulls/{number}", doing=doing)
        found = await self._lists.whole(f"{self._repo}/issues/{number}/comments", doing)
        return [str(id_) for id_ in sorted(one["id"] for one in found if one["user"] and str(one["user"]["id"]) == own)]

    async def mark(self, number: int, marks: Marks) -> None:
        """Labels and the commit status; what is there already is not written again."""
        doing = f"marking pull request {number} on Gitea"
        place = f"{self._repo}/issues/{number}/labels"
        there = await self._lists.whole(place, doing)
        names, wanted = {one["name"].lower() for one in there}, {name.lower() for name in marks.labels}
        if missing := [name for name in marks.labels if name.lower() not in names]:
            ids = await self._label_ids(missing, doing)
            await self._client.write("POST", place, {"labels": ids}, doing=doing)
        for one in there:
            # one by one: setting the whole list would undo what a person does meanwhile
            if one["name"].lower().startswith(_PREFIX) and one["name"].lower() not in wanted:
                fine = frozenset({404, 422})
                await self._client.write("DELETE", f"{place}/{one['id']}", None, doing=doing, fine=fine)
        await self._status(marks, doing)

    async def close(self, number: int) -> None:
        """Close it unmerged; harmless when it is closed."""
        doing, place = f"closing pull request {number} on Gitea", f"{self._repo}/pulls/{number}"
        answer = await self._client.write("PATCH", place, {"state": "closed"}, doing=doing, fine=frozenset({412}))
        if answer.status == 412:
            raise Conflict(str(self._client.error(answer, doing)))

    async def merge(self, number: int, head_sha: str) -> None:
        """Merge exactly this head, in the first style that the repository allows."""
        doing = f"merging pull request {number} on Gitea"
        repository = await self._client.get(self._repo, doing=doing)
        allowed = [style for style, key in _STYLES.items() if repository.get(key)] or list(_STYLES)
        for pause in (*_SETTLING, None):
            # `do` is Gitea's word and `Do` Forgejo's; both read either
            body = {
                "Do": allowed[0], "do": allowed[0], "head_commit_id": head_sha, "delete_branch_after_merge": False,
            }  # fmt: skip
            place, fine = f"{self._repo}/pulls/{number}/merge", frozenset({403, 404, 405, 409, 422, 423})
            answer = await self._client.write("POST", place, body, doing=doing, fine=fine)
            if answer.status == 200:
                return
            if not _is_settling(answer) or pause is None:
                break
            await asyncio.sleep(pause)
        raise self._why_not_merged(number, answer, doing)

    # --- the repository

    async def account(self) -> Account:
        """Who the token is."""
        return words.account_of(await self._client.get("user", doing="asking Gitea who we are"))

    async def posture(self, base: str) -> Posture:
        """Protection of a branch; its rules are told to administrators alone."""
        doing = f"reading the protection of branch {base!r} on Gitea"
        repository = await self._client.get(self._repo, doing=doing)
        branch = await self._client.get(f"{self._repo}/branches/{quote(base, safe='')}", doing=doing)
        place = f"{self._repo}/branch_protections"
        answer = await self._client.answer(place, doing=doing, fine=frozenset({403, 404}))
        return words.posture_of(repository, branch, (answer.body or []) if answer.status == 200 else None)

    async def changed(self, since: datetime | None) -> list[int]:
        """Newest first; the forge has no filter for the base that all versions know."""
        doing, found = "asking Gitea which pull requests changed", []
        params = {"state": "open" if since is None else "all", "sort": "recentupdate", "limit": LIMIT}
        for page in range(1, _MOST_CHANGED_PAGES + 1):
            # only the first is kept for the next time: the others are asked when it changed
            ask = self._client.fresh if page == 1 else self._client.get
            ones = await ask(f"{self._repo}/pulls", doing=doing, params={**params, "page": page}) or []
            # its moments have whole seconds: one of the same second may be newer
            new = [one for one in ones if since is None or words.utc(one["updated_at"]) >= since.replace(microsecond=0)]
            found += [one["number"] for one in new if one["base"]["ref"] == self._base and one["number"] not in found]
            if len(new) < len(ones) or not ones:
                break
        return found if since is not None else sorted(found, reverse=True)

    async def behind(self, commit: str) -> int | None:
        """The pull request whose merge this commit is."""
        doing = f"asking Gitea what brought commit {commit[:12]}"
        place = f"{self._repo}/commits/{quote(commit, safe='')}/pull"
        said = await self._client.get(place, doing=doing, missing=True)
        return said["number"] if said and said["merged"] and said["base"]["ref"] == self._base else None

    async def login(self) -> tuple[str, str]:
        """User and password for git over HTTP."""
        return self._settings.login or _PREFIX, self._secret

    async def rights(self) -> Rights:
        """What this token may do in the repository; its scopes are not told."""
        doing = f"asking Gitea about {self._settings.path!r}"
        said, fine = await self._client.get(self._repo, doing=doing), frozenset({403})
        may = said.get("permissions") or {}
        labels = await self._client.answer(f"{self._repo}/labels", doing=doing, params={"limit": 1}, fine=fine)
        sees_writers = await self._assignable(doing) is not None
        return Rights(
            account=await self.account(),
            repository=str(said["id"]),
            full_name=said["full_name"],
            default_branch=said["default_branch"],
            archived=bool(said["archived"]),
            private=bool(said["private"]),
            may_push=bool(may.get("push")),
            is_admin=bool(may.get("admin")),
            missing=words.missing_words(said, reads_issues=labels.status == 200, sees_writers=sees_writers),
        )

    async def hooks(self) -> list[Hook]:
        """Webhooks of the repository; needs the right to administer it."""
        found = await self._lists.all(f"{self._repo}/hooks", "reading the webhooks of the repository on Gitea")
        return [_hook(one) for one in found]

    async def make_hook(self, url: str, secret: str) -> Hook:
        """One that sends signed JSON for what gitmedic listens to."""
        doing = f"making a webhook to {url!r}"
        body = {
            "type": "gitea", "active": True, "events": list(_EVENTS),
            "config": {"url": url, "content_type": "json", "secret": secret},
        }  # fmt: skip
        fine = frozenset({422, 500})
        made = await self._client.write("POST", f"{self._repo}/hooks", body, doing=doing, fine=fine)
        if made.status < 300:
            return _hook(made.body)
        error = self._client.error(made, doing)
        if "host" not in str(error.args[0]).removeprefix(doing).lower():
            raise error
        host = httpx.URL(url).host
        step = (
            f"let the forge call that address: `ALLOWED_HOST_LIST = external,{host}` below `[webhook]` in its app.ini"
        )
        raise Refused(str(error), next_step=step, reason="webhook_host")

    async def drop_hook(self, id: str) -> None:
        """Take one away; harmless when it is gone."""
        place, doing = f"{self._repo}/hooks/{quote(id, safe='')}", "taking a webhook away on Gitea"
        await self._client.write("DELETE", place, None, doing=doing, fine=frozenset({404}))

    # --- inside

    async def _authorize(self) -> Mapping[str, str]:
        return {"Authorization": f"token {self._secret}"}

    async def _own(self) -> str:
        """Our account's number: as it was connected, or as the forge says."""
        if not self._own_number:
            self._own_number = (await self.account()).id
        return self._own_number

    def _is_of(self, pull: Mapping[str, Any], branch: str) -> bool:
        return words.is_own(pull) and (pull["head"]["label"], pull["base"]["ref"]) == (branch, self._base)

    async def _pull(self, said: Mapping[str, Any], doing: str, *, with_reviews: bool = True) -> PullRequest:
        repository = str(said["base"]["repo_id"])
        if self._settings.repository and repository != self._settings.repository:
            raise Refused(
                f"{doing}: {self._settings.path!r} is repository {repository} now, "
                f"and ours was {self._settings.repository}",
                next_step="if that is meant: gitmedic forge connect",
                reason="moved",
            )
        is_merged, number = bool(said["merged"]), said["number"]
        state = "merged" if is_merged else said["state"]
        author, head, is_own = words.account_of(said["user"]), said["head"], words.is_own(said)
        is_theirs = is_own and author.id != await self._own()
        return PullRequest(
            number=number,
            url=said["html_url"],
            repository=repository,
            state=state,
            head_sha=head["sha"],
            # `ref` is another one as soon as the branch is deleted
            head_ref=head["label"] or head["ref"],
            base_ref=said["base"]["ref"],
            author=author,
            same_repository=is_own,
            draft=words.is_draft(said),
            merge_sha=said["merge_commit_sha"] if is_merged else None,
            merged_by=words.merger_of(said) if is_merged else None,
            merged_at=words.utc(said["merged_at"]) if is_merged and said.get("merged_at") else None,
            closed_by=await self._closed_by(number, said["closed_at"], doing) if state == "closed" else None,
            pushed_by=await self._pushed_by(said, doing) if is_theirs else None,
            settling=is_merged and not said["merge_commit_sha"],
            reviews=await self._reviews(number, doing) if with_reviews else (),
        )

    async def _reviews(self, number: int, doing: str) -> tuple[Review, ...]:
        reviews = words.reviews_of(await self._lists.all(f"{self._repo}/pulls/{number}/reviews", doing))
        asked = {review.by.id: review.by for review in reviews if review.verdict == "approve" and review.stands}
        writers = await self._writers(asked.values(), doing)
        return tuple(
            review.model_copy(update={"may_write": review.by.id in writers}) if review.by.id in asked else review
            for review in reviews
        )

    async def _writers(self, accounts: Iterable[Account], doing: str) -> set[str]:
        """Who of these may write now, by number: a login may belong to somebody else by now."""
        found: set[str] = set()
        asked = {account.id: account for account in accounts}
        for account in asked.values():
            place = f"{self._repo}/collaborators/{quote(account.login, safe='')}/permission"
            answer = await self._client.answer(place, doing=doing, fine=frozenset({403, 404}))
            if answer.status == 403:
                break  # told to administrators alone
            if answer.status == 200 and answer.body["permission"] in words.WRITES:
                found.add(str(answer.body["user"]["id"]))
        # rights by a team are not told there, not even to administrators
        return found if asked.keys() <= found else found | (await self._assignable(doing) or set())

    async def _assignable(self, doing: str) -> set[str] | None:
        """Who may write, by the list of assignees; None where it has others too, such as teams that only read."""
        teams = await self._client.answer(f"{self._repo}/teams", doing=doing, fine=frozenset({403, 404, 405}))
        # 405: it belongs to a person, and then all who may be assigned may write
        if teams.status != 405 and (
            teams.status != 200 or not all(words.team_writes(team) for team in teams.body or [])
        ):
            return None
        answer = await self._client.answer(f"{self._repo}/assignees", doing=doing, fine=frozenset({403, 404}))
        return {str(one["id"]) for one in answer.body or []} if answer.status == 200 else None

    async def _closed_by(self, number: int, closed_at: str | None, doing: str) -> Account | None:
        place = f"{self._repo}/issues/{number}/timeline"
        since = words.utc(closed_at) - timedelta(seconds=1) if closed_at else None
        async for events in self._lists.timeline(place, doing, since):
            if any(one["type"] == "close" for one in events):
                return words.closer_in(events)
        return None

    async def _pushed_by(self, said: Mapping[str, Any], doing: str) -> Account | None:
        place = f"{self._repo}/issues/{said['number']}/timeline"
        events = [event async for page in self._lists.timeline(place, doing) for event in page]
        return words.pusher_in(events, said["head"]["sha"], words.utc(said["created_at"]))

    async def _label_ids(self, names: Sequence[str], doing: str) -> list[int]:
        """Numbers of labels of the repository, made where they are missing."""
        there = {one["name"].lower(): int(one["id"]) for one in await self._lists.all(f"{self._repo}/labels", doing)}
        for name in names:
            if name.lower() not in there:
                body = {"name": name, "color": _COLOUR, "description": "set by gitmedic"}
                made = await self._client.write("POST", f"{self._repo}/labels", body, doing=doing)
                there[name.lower()] = int(made.body["id"])
        return [there[name.lower()] for name in names]

    async def _status(self, marks: Marks, doing: str) -> None:
        status = {
            "state": marks.state, "context": _PREFIX, "description": " ".join(marks.text.split())[:250],
            "target_url": marks.target_url,
        }  # fmt: skip
        sha = quote(marks.head_sha, safe="")
        shown = await self._client.get(
            f"{self._repo}/commits/{sha}/status", doing=doing, params={"limit": LIMIT}, missing=True
        )
        for one in (shown or {}).get("statuses") or []:
            said = {**one, "state": one["status"], "target_url": one.get("target_url") or ""}
            if all(said.get(key) == value for key, value in status.items()):
                return
        await self._client.write("POST", f"{self._repo}/statuses/{sha}", status, doing=doing)

    def _why_not_merged(self, number: int, answer: Answer, doing: str) -> Exception:
        error = self._client.error(answer, doing)
        if _is_settling(answer):
            return Unavailable(f"{error.args[0]} (the forge is still working out whether it can)", after_seconds=5)
        if (answer.status == 409 and "out of date" in str(error)) or "already merged" in str(error):
            return Conflict(str(error), next_step="look at what it says now, and approve that")
        step = f"the approval is recorded; merge it on the forge: {self._settings.url}/pulls/{number}"
        return Refused(str(error), next_step=step, reason="not_merged")


def _is_settling(answer: Answer) -> bool:
    said = answer.body.get("message", "") if isinstance(answer.body, dict) else ""
    return answer.status == 405 and "try again later" in str(said).lower()


def _hook(said: Mapping[str, Any]) -> Hook:
    return Hook(id=str(said["id"]), url=str(said["config"].get("url", "")), active=bool(said["active"]))
