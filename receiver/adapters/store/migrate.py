"""Plain SQL migrations, in order, under a lock, each in a transaction of its own.

Refuses a migration file that changed after it was applied, and a database that knows migrations which this
version does not: both mean that another version of gitmedic owns it.
"""

from __future__ import annotations

import functools
from hashlib import sha256
from importlib.resources import files
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.narrow import grant_again
from receiver.adapters.store.pool import translated
from receiver.errors import Refused

_LOCK = "SELECT pg_advisory_lock(hashtext('gitmedic.migrate'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('gitmedic.migrate'))"
_TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""


@functools.cache
def migrations() -> dict[str, str]:
    """File name → SQL, in order."""
    folder = files("receiver.adapters.store") / "migrations"
    return {
        entry.name: entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    }


def check_newest(newest: str | None) -> None:
    """Refuse to go on when the newest migration of the database is not our own newest."""
    ours = max(migrations())
    if newest is not None and newest > ours:
        raise _newer(newest)
    if newest is None or newest < ours:
        raise Refused(
            f"opening the database: it lacks migration {ours!r}, so it is older than this version",
            next_step="bring it up to date first: gitmedic upgrade (or gitmedic up where the planner is)",
            reason="older_database",
        )


async def check_schema(pool: AsyncConnectionPool[Any]) -> None:
    """Refuse a database of another version than this program's, in either direction."""
    with translated("reading the version of the database"):
        async with pool.connection() as connection:
            found = await (await connection.execute("SELECT to_regclass('schema_migrations')")).fetchone()
            rows: list[tuple[str, str]] = []
            if found and found[0]:
                rows = await (await connection.execute("SELECT name, sha256 FROM schema_migrations")).fetchall()
    _compare(dict(rows), migrations())
    is_whole = len(rows) == len(migrations())
    check_newest(max(migrations()) if is_whole else None)


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing; gives the names applied now. Two at once wait for each other."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(_LOCK)
        try:
            found = await (await connection.execute("SELECT to_regclass('schema_migrations')")).fetchone()
            if not (found and found[0]):  # who may make no tables may ask all the same
                await connection.execute(_TABLE)
            rows = await (await connection.execute("SELECT name, sha256 FROM schema_migrations")).fetchall()
            wanted = migrations()
            _compare({name: digest for name, digest in rows}, wanted)
            applied = []
            for name in [name for name in wanted if name not in dict(rows)]:
                async with connection.transaction():
                    await connection.execute(wanted[name].encode())
                    await connection.execute(
                        "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)",
                        (name, _digest(wanted[name])),
                    )
                applied.append(name)
            if applied:
                await grant_again(connection)
            return applied
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refused(
                f"bringing the database up to date: {str(error).splitlines()[0]}",
                next_step="gitmedic upgrade, with the database.url of the owner of its tables",
                reason="older_database",
            ) from None
        finally:
            await connection.execute(_UNLOCK)


def _compare(known: dict[str, str], wanted: dict[str, str]) -> None:
    newer = sorted(set(known) - set(wanted))
    if newer:
        raise _newer(newer[0])
    for name, digest in known.items():
        if digest != _digest(wanted[name]):
            raise Refused(
                f"opening the database: migration {name!r} is not the one that was applied",
                next_step="install a released version of gitmedic; applied migrations are never edited",
                reason="changed_migration",
            )


def _newer(name: str) -> Refused:
    return Refused(
        f"opening the database: it has migration {name!r}, which this version does not know",
        next_step="start the version of gitmedic that wrote it, or a newer one",
        reason="newer_database",
    )


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
