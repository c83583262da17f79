"""The built-in forge: pull requests as rows, branches and merges in the bare ops repository.

Decides that an approval is a named person's word on one head, and merges exactly that head, once. Refuses
an old head, a closed pull request, and a merge that would change more than the one file. A direct push of the
run file leaves its pull request open: it is nobody's approval.

A merge is two writes, in git and in the database. The intention (which commit, whose word, when) is committed
first, then git moves by compare-and-swap, then the row says `merged`. After a crash in between, whoever reads
the row asks git whether the intended commit is there.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.queries import sql, translated
from receiver.adapters.forge.settings import LocalForgeSettings
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review, bot_account, person_account
from receiver.domain.record import Record
from receiver.errors import Broken, Conflict, Invalid, Refused, Unavailable

_MOST_TEXT = 100_000


class Merges(Protocol):
    """What the forge needs of git."""

    async def head(self, branch: str) -> str | None:
        """Where a branch stands."""

    async def prepare_merge(self, head: str, message: str) -> tuple[str, str]:
        """A two-parent commit that adds the head's one file to the tip; (merge, tip). Moves nothing."""

    async def land(self, merge: str, tip: str, branch: str, head: str) -> bool:
        """Move the base from tip to merge; False when it moved meanwhile, `Conflict` when the head did."""

    async def contains(self, commit: str) -> bool:
        """Whether a commit is part of the base branch."""

    async def retire(self, branch: str) -> None:
        """Take a closed proposal's branch out of people's sight."""


class Page(Record):
    """The texts of one pull request, for the review page."""

    title: str
    body: str
    comment: str
    closed_why: str | None


class LocalForge:
    """The ports Forge and ReviewDesk over one bare repository and its database."""

    name = "local"

    def __init__(self, pool: AsyncConnectionPool[Any], git: Merges, settings: LocalForgeSettings) -> None:
        self._pool = pool
        self._git = git
        self._settings = settings
        self._bot = bot_account(settings.bot)

    # --- the port Forge

    async def open(self, opening: Opening) -> PullRequest:
        """Open one, or find the one of this branch that is open or merged."""
        branch, head = opening.branch, opening.head_sha
        doing = f"opening a pull request for branch {branch!r}"
        if opening.base != self._settings.base:
            raise Refused(
                f"{doing}: its base would be {opening.base!r}, and only {self._settings.base!r} takes merges",
                next_step="set forge.base and repo.base to the same branch",
            )
        async with self._connected(doing) as connection:
            row = await self._one(connection, "find", self._here(branch=branch))
            if row is None:
                present = await self._git.head(branch)
                if present != head:
                    raise Conflict(f"{doing}: it stands at {present}, not at {head}")
                values = self._here(
                    run_id=_run_of(branch), branch=branch, title=_line(opening.title), body=_text(opening.body),
                    base_ref=opening.base, head_sha=head, author=self._settings.bot, labels=list(opening.labels),
                )  # fmt: skip
                await connection.execute(sql()["open"], values)
                row = await self._one(connection, "find", self._here(branch=branch))
            if row is None or row["state"] == "closed":
                raise Conflict(
                    f"{doing}: its run was proposed before and is closed",
                    next_step="a closed proposal stays closed; the next alert makes a new one",
                )
            return await self._pull(connection, row)

    async def read(self, number: int) -> PullRequest:
        """As it is now; completes what a crash left half done."""
        async with self._connected(f"reading pull request {number}") as connection:
            return await self._pull(connection, await self._healed(connection, number))

    async def comment(self, number: int, text: str) -> None:
        """Write the one sticky comment, edited in place."""
        async with self._connected(f"commenting on pull request {number}") as connection:
            done = await connection.execute(sql()["comment"], self._here(number=number, text=_text(text)))
            if done.rowcount == 0:
                raise _missing(number)

    async def close(self, number: int, text: str) -> None:
        """Close it unmerged; closing a closed one is harmless."""
        async with self._alone(number, f"closing pull request {number}") as connection:
            row = await self._healed(connection, number)
            if row["state"] == "merged":
                raise Conflict(f"closing pull request {number}: it is merged, by {row['merged_by']}")
            values = {"number": number, "closed_by": self._settings.bot, "closed_why": _text(text)}
            await connection.execute(sql()["close"], values)
            await self._git.retire(row["branch"])

    async def mark(self, number: int, marks: Marks) -> None:
        """Set our labels and the status of its head."""
        status = json.dumps({"state": marks.state, "text": _line(marks.text), "head_sha": marks.head_sha})
        values = self._here(number=number, labels=list(marks.labels), status=status)
        async with self._connected(f"marking pull request {number}") as connection:
            done = await connection.execute(sql()["mark"], values)
            if done.rowcount == 0:
                raise _missing(number)

    # --- the port Hosting

    async def account(self) -> Account:
        """Who opens pull requests here."""
        return self._bot

    async def posture(self) -> Posture:
        """The repository's own hook: nothing rewrites the base; our own count replaces a number of reviews."""
        return Posture(protected=True, force_push=False, admins_bypass=False, manual_merge=False, stale_dismissed=True)

    async def changed(self, since: datetime | None) -> list[int]:
        """Numbers of pull requests that changed since then; None: the open ones."""
        async with self._connected("listing pull requests") as connection:
            cursor = await connection.execute(sql()["changed"], self._here(since=since))
            return [number for (number,) in await cursor.fetchall()]

    async def behind(self, commit: str) -> int | None:
        """The number of the pull request that made this merge."""
        async with self._connected("looking for a merge") as connection:
            cursor = await connection.execute(sql()["behind"], self._here(commit=commit))
            found = await cursor.fetchone()
            return found[0] if found else None

    # --- the port ReviewDesk

    async def approve(self, number: int, head_sha: str, person: str, via: str, *, signature: str = "") -> PullRequest:
        """Record the review of this head, which merges nothing."""
        doing = f"approving pull request {number}"
        async with self._alone(number, doing) as connection:
            row = await self._approvable(connection, number, head_sha, person, via, doing)
            if row["state"] == "open":
                await self._review(connection, number, person, via, head_sha, "approve", signature)
            return await self._pull(connection, await self._row(connection, number))

    async def approve_and_merge(
        self, number: int, head_sha: str, person: str, via: str, *, signature: str = ""
    ) -> PullRequest:
        """Record the review of this head and merge it; `Conflict` on an old head or a closed one."""
        doing = f"approving pull request {number}"
        async with self._alone(number, doing) as connection:
            row = await self._approvable(connection, number, head_sha, person, via, doing)
            if row["state"] == "open":
                await self._merge(connection, row, head_sha, person, via, signature)
            return await self._pull(connection, await self._row(connection, number))

    async def reject(self, number: int, person: str, via: str, why: str) -> PullRequest:
        """Close it unmerged, in this person's name."""
        doing = f"rejecting pull request {number}"
        _check_name(person, "person")
        _check_name(via, "way of rejecting")
        async with self._alone(number, doing) as connection:
            row = await self._healed(connection, number)
            if row["state"] == "merged" or (row["state"] == "closed" and row["closed_by"] != person):
                by = row["merged_by"] or row["closed_by"]
                raise Conflict(f"{doing}: it is {row['state']} already, by {by}")
            if row["state"] == "open":
                head = await self._git.head(row["branch"]) or row["head_sha"]
                async with connection.transaction():
                    await self._review(connection, number, person, via, head, "reject")
                    values = {"number": number, "closed_by": person, "closed_why": _text(why)}
                    await connection.execute(sql()["close"], values)
            await self._git.retire(row["branch"])
            return await self._pull(connection, await self._row(connection, number))

    async def page(self, number: int) -> Page:
        """Its texts, for the review page."""
        async with self._connected(f"reading pull request {number}") as connection:
            row = await self._row(connection, number)
            return Page(**{name: row[name] for name in Page.model_fields})

    # --- inside

    def _here(self, **values: Any) -> dict[str, Any]:
        """What is asked or written about pull requests of this repository."""
        return values | {"repository": self._settings.repository}

    async def _approvable(
        self,
        connection: psycopg.AsyncConnection[Any],
        number: int,
        head_sha: str,
        person: str,
        via: str,
        doing: str,
    ) -> dict[str, Any]:
        """The row of an open one at this head, or of one that this very word has merged before."""
        _check_name(person, "person")
        _check_name(via, "way of approving")
        row = await self._healed(connection, number)
        if row["state"] == "merged" and (row["merged_by"], row["merged_head_sha"]) == (person, head_sha):
            return row  # the same click twice
        if row["state"] != "open":
            by = row["merged_by"] or row["closed_by"]
            raise Conflict(f"{doing}: it is {row['state']} already, by {by}")
        present = await self._git.head(row["branch"])
        if present != head_sha:
            raise Conflict(
                f"{doing}: its head is {(present or 'gone')[:12]} and no longer {head_sha[:12]}",
                next_step="look at what it says now, and approve that",
            )
        return row

    async def _merge(
        self,
        connection: psycopg.AsyncConnection[Any],
        row: dict[str, Any],
        head: str,
        person: str,
        via: str,
        signature: str,
    ) -> None:
        """Intention, git, row: in this order (see above). Follows a base branch that moves."""
        number = row["number"]
        message = (
            f"Merge proposal #{number}: {row['title']}\n\n"
            f"Proposal: {row['branch']} at {head}\nApproved-by: {person} ({via})\n"
        )
        reviewed = False
        for _ in range(self._settings.merge_tries):
            merge, tip = await self._git.prepare_merge(head, message)
            async with connection.transaction():
                if not reviewed:
                    await self._review(connection, number, person, via, head, "approve", signature)
                values = {"number": number, "merge_sha": merge, "head_sha": head, "person": person}
                await connection.execute(sql()["intend"], values)
            reviewed = True
            if await self._git.land(merge, tip, row["branch"], head):
                await connection.execute(sql()["complete"], {"number": number, "merge_sha": merge})
                return
        raise Unavailable(
            f"merging pull request {number}: branch {self._settings.base!r} moved under it "
            f"{self._settings.merge_tries} times"
        )

    async def _healed(self, connection: psycopg.AsyncConnection[Any], number: int) -> dict[str, Any]:
        """The row; an intended merge that git has is completed first."""
        row = await self._row(connection, number)
        merge = row["intended_merge_sha"]
        if row["state"] == "open" and merge is not None and await self._git.contains(merge):
            await connection.execute(sql()["complete"], {"number": number, "merge_sha": merge})
            return await self._row(connection, number)
        return row

    async def _pull(self, connection: psycopg.AsyncConnection[Any], row: dict[str, Any]) -> PullRequest:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(sql()["reviews"], {"number": row["number"]})
        reviews = tuple(Review(by=person_account(review.pop("person")), **review) for review in await cursor.fetchall())
        head = row["merged_head_sha"] or row["head_sha"]
        if row["state"] == "open":
            head = await self._git.head(row["branch"]) or head
        return PullRequest(
            number=row["number"],
            url=self._url(row["number"]),
            repository="local",
            state=row["state"],
            head_sha=head,
            head_ref=row["branch"],
            base_ref=row["base_ref"],
            author=self._account(row["author"]),
            merge_sha=row["merge_sha"],
            merged_by=self._account(row["merged_by"]) if row["merged_by"] else None,
            merged_at=row["merged_at"],
            closed_by=self._account(row["closed_by"]) if row["closed_by"] else None,
            reviews=reviews,
        )

    def _url(self, number: int) -> str:
        return self._settings.url_template.replace("{number}", str(number))

    def _account(self, name: str) -> Account:
        return self._bot if name == self._settings.bot else person_account(name)

    async def _review(
        self,
        connection: psycopg.AsyncConnection[Any],
        number: int,
        person: str,
        via: str,
        head: str,
        verdict: str,
        signature: str = "",
    ) -> None:
        values = {
            "number": number, "person": person, "via": via, "head_sha": head, "verdict": verdict,
            "signature": signature,
        }  # fmt: skip
        await connection.execute(sql()["review"], values)

    async def _row(self, connection: psycopg.AsyncConnection[Any], number: int) -> dict[str, Any]:
        row = await self._one(connection, "read", self._here(number=number))
        if row is None:
            raise _missing(number)
        return row

    async def _one(
        self, connection: psycopg.AsyncConnection[Any], query: str, values: dict[str, Any]
    ) -> dict[str, Any] | None:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(sql()[query], values)
        return await cursor.fetchone()

    @asynccontextmanager
    async def _connected(self, doing: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        with translated(doing):
            async with self._pool.connection() as connection:
                if not connection.autocommit:
                    # an intention inside an open transaction would be lost with the process
                    raise Broken(f"{doing}: the pool's connections must be autocommit")
                yield connection

    @asynccontextmanager
    async def _alone(self, number: int, doing: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """No other process decides about this pull request meanwhile."""
        async with self._connected(doing) as connection:
            await connection.execute(sql()["lock"], {"number": number})
            try:
                yield connection
            finally:
                if not connection.closed:
                    await connection.execute(sql()["unlock"], {"number": number})


def _run_of(branch: str) -> UUID | None:
    """The run that a branch name ends with, if it does."""
    try:
        return UUID(branch.rsplit("/", 1)[-1])
    except ValueError:
        return None


def _missing(number: int) -> Refused:
    return Refused(
        f"reading pull request {number}: there is none with this number",
        next_step="see the open ones with: gitmedic case list",
        reason="not_found",
    )


def _text(text: str) -> str:
    return text.replace("\0", "")[:_MOST_TEXT]


def _line(text: str) -> str:
    return " ".join(_text(text).split())[:300]


def _check_name(text: str, what: str) -> None:
    """One line that cannot forge a second one in the merge's message."""
    if not text.strip() or len(text) > 200 or any(unicodedata.category(one)[0] == "C" for one in text):
        raise Invalid(f"{text[:80]!r} is no {what}", next_step="give a name of one line")
