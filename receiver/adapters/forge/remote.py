"""A forge elsewhere behind the ports: its REST API joined with what our database knows of it.

Decides that a pull request is looked up by its branch before and after it is made, so that a lost answer never
makes two; that the one comment is found by its stored id; and that words given on our own pages count beside
those given on the forge. The three files beside this one only speak their forge's dialect.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.queries import sql, translated
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review, person_account
from receiver.domain.record import Record
from receiver.errors import Conflict, Refused, Retry, Unavailable

_POSTURE_SECONDS = 3600.0
#: a difference of clocks that is more than rounding and travel
_SKEW = timedelta(seconds=30)


class Rights(Record):
    """What a token may do in the repository, as far as the forge says."""

    account: Account
    repository: str  #: the forge's own number
    full_name: str  #: as the forge spells it now
    default_branch: str
    archived: bool
    private: bool
    may_push: bool
    is_admin: bool  #: more than gitmedic needs
    scopes: tuple[str, ...] = ()  #: as the forge lists them; empty: it does not
    missing: tuple[str, ...] = ()  #: what gitmedic needs and this token lacks, in words
    expires_at: datetime | None = None  #: of the token; None: never, or the forge does not say


class Hook(Record):
    """A webhook of the repository."""

    id: str
    url: str
    active: bool


class Dialect(Protocol):
    """One forge's REST API: no memory, no decision, nothing repeated."""

    name: str
    most_text: int  #: characters of a body or a comment

    @property
    def skew(self) -> timedelta:
        """How far its clock is ahead of ours, by its last answer."""

    async def create(self, opening: Opening) -> PullRequest:
        """One POST; `Conflict` when there is one of this branch already."""

    async def find(self, branch: str) -> PullRequest | None:
        """The newest of this branch of the repository itself, open ones first; never one of a fork."""

    async def read(self, number: int) -> PullRequest:
        """As it is now; reviews with what each reviewer may do now."""

    async def write_comment(self, number: int, text: str, id: str | None) -> str:
        """Edit that comment, or write one; gives its id. A deleted one is written anew."""

    async def comments_of_ours(self, number: int) -> list[str]:
        """Ids of our own account's comments, oldest first."""

    async def mark(self, number: int, marks: Marks) -> None:
        """Labels and the commit status."""

    async def close(self, number: int) -> None:
        """Close it unmerged; harmless when it is closed."""

    async def merge(self, number: int, head_sha: str) -> None:
        """Merge exactly this head (with the forge's own guard); `Conflict` when it moved, `Refused` when not let."""

    async def account(self) -> Account:
        """Who the token is."""

    async def posture(self, base: str) -> Posture:
        """Protection of a branch."""

    async def changed(self, since: datetime | None) -> list[int]:
        """Newest first, by conditional requests."""

    async def behind(self, commit: str) -> int | None:
        """The merged pull request of a commit."""

    async def login(self) -> tuple[str, str]:
        """User and password for git over HTTP."""

    async def rights(self) -> Rights:
        """What this token may do."""

    async def hooks(self) -> list[Hook]:
        """Webhooks of the repository; needs more than gitmedic's daily rights."""

    async def make_hook(self, url: str, secret: str) -> Hook:
        """One that sends signed JSON for what gitmedic listens to."""

    async def drop_hook(self, id: str) -> None:
        """Take one away; harmless when it is gone."""

    async def aclose(self) -> None:
        """Close the connections."""


class RemoteForge:
    """The ports Forge, Hosting and ReviewDesk over one forge elsewhere."""

    def __init__(
        self, dialect: Dialect, pool: AsyncConnectionPool[Any], *, repository: str, base: str, account: Account
    ) -> None:
        self.name = dialect.name
        self.dialect = dialect
        self._pool, self._repository, self._base, self._account = pool, repository, base, account
        self._posture: tuple[float, Posture] | None = None

    # --- the port Forge

    async def open(self, opening: Opening) -> PullRequest:
        """Open one, or find the one of this branch that is open or merged."""
        doing = f"opening a pull request for branch {opening.branch!r}"
        if opening.base != self._base:
            raise Refused(
                f"{doing}: its base would be {opening.base!r}, and only {self._base!r} takes merges",
                next_step="set repo.base to the protected branch",
            )
        bounded = opening.model_copy(update={"body": cut(opening.body, self.dialect.most_text)})
        found = await self.dialect.find(opening.branch)
        if found is None:
            try:
                return await self.dialect.create(bounded)
            except (Conflict, Retry) as error:
                # it may have been made all the same: the answer was lost, or somebody was first
                found = await self.dialect.find(opening.branch)
                if found is None and isinstance(error, Conflict):
                    raise Unavailable(f"{doing}: {error.message}, and it is not to be seen yet") from None
                if found is None:
                    raise
        if found.state == "closed" or not self._is_us(found.author):
            said = f"{found.state}, by {found.author.login}"
            raise Conflict(
                f"{doing}: there is {found.url} already, {said}",
                next_step="a closed proposal stays closed; the next alert makes a new one",
            )
        return found

    async def read(self, number: int) -> PullRequest:
        """As it is now, with the reviews of our own pages in their order."""
        pull = await self.dialect.read(number)
        ours = await self._desk_reviews(number)
        pusher = pull.pushed_by or await self._pusher(pull)
        reviews = tuple(sorted((*pull.reviews, *ours), key=lambda review: review.at))
        closer = pull.closed_by
        if pull.state == "closed" and closer is not None and self._is_us(closer):
            # closed by our account in the name of whoever turned it down on our own page
            closer = next((one.by for one in reversed(ours) if one.verdict == "reject"), closer)
        said = {"reviews": reviews, "pushed_by": pusher, "closed_by": closer, "merged_at": self._ours(pull.merged_at)}
        return pull.model_copy(update=said)

    async def comment(self, number: int, text: str) -> None:
        """Write the one sticky comment, edited in place; one that says it already is left."""
        text = cut(text, self.dialect.most_text)
        digest = sha256(text.encode()).hexdigest()
        known = await self._one("forge_comment", {"repository": self._repository, "number": number})
        if known is not None and known["sha256"] == digest:
            return
        id_ = (known["comment_id"] or None) if known else None
        if id_ is None:
            # written before, and its id was lost with the answer
            id_ = next(iter(await self.dialect.comments_of_ours(number)), None)
        written = await self.dialect.write_comment(number, text, id_)
        values = {"repository": self._repository, "number": number, "comment_id": written, "sha256": digest}
        await self._execute("keep_comment", values)

    async def mark(self, number: int, marks: Marks) -> None:
        """Set our labels and the status of its head; the same again costs no request."""
        digest = sha256(marks.model_dump_json().encode()).hexdigest()
        key = {"repository": self._repository, "number": number}
        known = await self._one("forge_comment", key)
        if known is None or known["marks"] != digest:
            await self.dialect.mark(number, marks)
            await self._execute("keep_marks", key | {"marks": digest})

    async def close(self, number: int, text: str) -> None:
        """Say why, then close it unmerged."""
        pull = await self.dialect.read(number)
        if pull.state == "merged":
            raise Conflict(f"closing {pull.url}: it is merged, by {pull.merged_by}")
        await self.comment(number, text)
        if pull.state == "open":
            await self.dialect.close(number)

    # --- the port Hosting

    async def account(self) -> Account:
        """Who we are there."""
        return await self.dialect.account()

    async def posture(self) -> Posture:
        """How the base branch is protected; kept for an hour."""
        now = time.monotonic()
        if self._posture is None or now - self._posture[0] > _POSTURE_SECONDS:
            self._posture = (now, await self.dialect.posture(self._base))
        return self._posture[1]

    async def changed(self, since: datetime | None) -> list[int]:
        """Numbers of pull requests into the base that changed since then; None: the open ones."""
        return await self.dialect.changed(since)

    async def behind(self, commit: str) -> int | None:
        """The number of the merged pull request that brought this commit of the base."""
        return await self.dialect.behind(commit)

    # --- the port ReviewDesk

    async def approve(self, number: int, head_sha: str, person: str, via: str, *, signature: str = "") -> PullRequest:
        """Record the review of this head, which merges nothing."""
        pull = await self._approvable(number, head_sha, person)
        if pull.state == "open":
            await self._review(number, person, via, head_sha, "approve", signature)
        return await self.read(number)

    async def approve_and_merge(
        self, number: int, head_sha: str, person: str, via: str, *, signature: str = ""
    ) -> PullRequest:
        """Record the review, then merge that head as our account; where the forge does not let us, say so."""
        pull = await self._approvable(number, head_sha, person)
        if pull.state == "open":
            await self._review(number, person, via, head_sha, "approve", signature)
            await self.dialect.merge(number, head_sha)
        return await self.read(number)

    async def reject(self, number: int, person: str, via: str, why: str) -> PullRequest:
        """Close it unmerged, in this person's name."""
        doing = f"rejecting pull request {number}"
        pull = await self.dialect.read(number)
        if pull.state == "merged":
            raise Conflict(f"{doing}: it is merged already, by {pull.merged_by}")
        if pull.state == "closed" and not await self._said(pull, person, "reject"):
            raise Conflict(f"{doing}: it is closed already, by {pull.closed_by}")
        if pull.state == "open":
            await self._review(number, person, via, pull.head_sha, "reject", "")
            await self.close(number, f"Closed: turned down by {person}." + (f" {cut(why, 500)}" if why else ""))
        return await self.read(number)

    # --- inside

    def _ours(self, moment: datetime | None) -> datetime | None:
        """By our clock: an approval is compared with when this instance began to live (rule S2)."""
        is_far = abs(self.dialect.skew) > _SKEW
        return moment - self.dialect.skew if moment is not None and is_far else moment

    def _is_us(self, account: Account) -> bool:
        """By the number: an account may be renamed."""
        return (account.forge, account.id) == (self._account.forge, self._account.id)

    async def _approvable(self, number: int, head_sha: str, person: str) -> PullRequest:
        """One at this head that is open, or that this person's word was given on before it was merged."""
        doing = f"approving pull request {number}"
        pull = await self.dialect.read(number)
        if pull.head_sha != head_sha:
            raise Conflict(
                f"{doing}: its head is {pull.head_sha[:12]} and no longer {head_sha[:12]}",
                next_step="look at what it says now, and approve that",
            )
        if pull.state == "closed":
            raise Conflict(f"{doing}: it is closed already, by {pull.closed_by}")
        if pull.state == "merged" and not await self._said(pull, person, "approve"):
            raise Conflict(f"{doing}: it is merged already, by {pull.merged_by}")
        return pull

    async def _said(self, pull: PullRequest, person: str, verdict: str) -> bool:
        """Whether this person's word on this head is kept already: the same click twice."""
        kept = await self._desk_reviews(pull.number)
        return any((one.by.id, one.verdict, one.head_sha) == (person, verdict, pull.head_sha) for one in kept)

    async def _review(self, number: int, person: str, via: str, head_sha: str, verdict: str, signature: str) -> None:
        values = {
            "repository": self._repository, "number": number, "person": person, "via": via, "head_sha": head_sha,
            "verdict": verdict, "signature": signature,
        }  # fmt: skip
        await self._execute("desk_review", values)

    async def _desk_reviews(self, number: int) -> Sequence[Review]:
        rows = await self._all("desk_reviews", {"repository": self._repository, "number": number})
        return [Review(by=person_account(row.pop("person")), **row) for row in rows]

    async def _pusher(self, pull: PullRequest) -> Account | None:
        """Who pushed its head, as a signed webhook said."""
        ref = f"refs/heads/{pull.head_ref}"
        values = {"forge": self.name, "repository": self._repository, "sha": pull.head_sha, "ref": ref}
        row = await self._one("pusher", values)
        return Account(forge=self._account.forge, id=row["pusher"], login=row["pusher"]) if row else None

    async def _one(self, query: str, values: dict[str, Any]) -> dict[str, Any] | None:
        return next(iter(await self._all(query, values)), None)

    async def _all(self, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._connected() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(sql()[query], values)
            return await cursor.fetchall()

    async def _execute(self, query: str, values: dict[str, Any]) -> None:
        async with self._connected() as connection:
            await connection.execute(sql()[query], values)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        with translated(f"remembering a pull request of {self.name}"):
            async with self._pool.connection() as connection:
                yield connection


def cut(text: str, most: int) -> str:
    """At most so many characters; a fence or a fold that the cut would leave open is closed."""
    text = text.replace("\0", "")
    if len(text) <= most:
        return text
    end = "\n\n… cut: the whole is on gitmedic's own page"
    kept = text[: most - len(end) - 200]
    fences = [line for line in kept.split("\n") if line.startswith("```")]
    if len(fences) % 2:
        kept += f"\n{'`' * (len(fences[-1]) - len(fences[-1].lstrip('`')))}"
    kept += "\n</details>" * (kept.count("<details>") - kept.count("</details>"))
    return kept + end
