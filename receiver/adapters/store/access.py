"""Tokens, one-time links and sessions: who is asking.

Keeps only digests of secrets: a copy of the database opens nothing. A link is good once, for a day; a session for
fourteen days; a token until it is revoked.
"""

from __future__ import annotations

import asyncio
import secrets
from hashlib import sha256
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.errors import Conflict, Refused, Unavailable
from receiver.ports import Token

SQL = load("access")
SCOPES = ("read", "alerts:write", "dispatch", "admin")


class PostgresAccess:
    """The Access port, and what the command line does with tokens."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        #: by digest, who is answered by the next question
        self._waiting: dict[str, asyncio.Future[Token | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def token(self, secret: str) -> Token | None:
        """The token with this secret, if it is known and not revoked.

        Whoever comes while one question is on its way shares the next: a storm asks once for many requests, and each
        answer is still younger than its request, so that a revoked token opens nothing.
        """
        digest = _digest(secret)
        if digest not in self._waiting:
            self._waiting[digest] = asyncio.get_running_loop().create_future()
        future = self._waiting[digest]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # shared: one who hangs up does not take it from the others
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        """One question after the other, until nobody waits."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                await self._answer(waiting)
        finally:
            self._asking = None

    async def _answer(self, waiting: dict[str, asyncio.Future[Token | None]]) -> None:
        try:
            rows = {row.pop("sha256"): row for row in await self._rows("tokens", digests=list(waiting))}
        except BaseException as error:
            for future in waiting.values():
                future.set_exception(error if isinstance(error, Exception) else Unavailable("the server is stopping"))
                future.exception()  # told, also when all have hung up
            if not isinstance(error, Exception):
                raise
            return
        for digest, future in waiting.items():
            future.set_result(Token(**rows[digest]) if digest in rows else None)

    async def enter(self, link_secret: str) -> tuple[str, str] | None:
        """Use a setup link once: (session secret, person)."""
        session = secrets.token_urlsafe(32)
        rows = await self._rows("enter", link=_digest(link_secret), session=_digest(session))
        return (session, str(rows[0]["person"])) if rows else None

    async def person(self, session_secret: str) -> str | None:
        """Whose session this is, if it has not ended."""
        rows = await self._rows("session", sha256=_digest(session_secret))
        return str(rows[0]["person"]) if rows else None

    async def leave(self, session_secret: str) -> None:
        """End a session."""
        await self._rows("end_session", sha256=_digest(session_secret))

    async def create_token(self, name: str, scope: str, *, source: str = "", created_by: str) -> str:
        """A new token's secret, shown once. Several may be good at a time, for rotation."""
        if scope not in SCOPES:
            raise Refused(f"creating a token: scope {scope!r} is none of {', '.join(SCOPES)}", reason="scope")
        secret = f"gm_{secrets.token_urlsafe(32)}"
        values = {"name": name, "scope": scope, "source": source, "created_by": created_by}
        with translated(f"creating token {name!r}"):
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(SQL["create_token"], values | {"sha256": _digest(secret)})
            except psycopg.errors.UniqueViolation as error:
                raise Conflict(
                    f"creating token {name!r}: there is one of that name, or was",
                    next_step="give another name: a revoked one stays in the audit",
                ) from error
        return secret

    async def revoke_token(self, name: str) -> bool:
        """False when there is none that is good."""
        return bool(await self._rows("revoke_token", name=name))

    async def list_tokens(self) -> list[dict[str, Any]]:
        """All tokens without their secrets."""
        return await self._rows("list_tokens")

    async def create_setup_link(self, person: str) -> str:
        """The secret of a link that lets this person in, once."""
        secret = secrets.token_urlsafe(32)
        await self._rows("create_link", sha256=_digest(secret), person=person)
        return secret

    async def _rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with translated(query.replace("_", " ")):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[query], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
