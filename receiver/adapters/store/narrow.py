"""Database roles of least privilege for the server, the planner and the executor.

Decides nothing: what each may do lies in `roles/<name>.sql`, and what rights cannot say in `roles/guards.sql`. A role
that is there keeps its password. Refuses to give rights on tables that belong to somebody else.
"""

from __future__ import annotations

import secrets
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql as words

from receiver.errors import Refused

NAMES = ("gitmedic_receiver", "gitmedic_planner", "gitmedic_executor")
#: no role makes tables, views or functions here: one of a known name would be taken for ours
_NOTHING_OF_ITS_OWN = """DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'only the owner of the database can keep these roles from making tables of their own: %', SQLERRM;
END $$;"""


def text_of(name: str) -> str:
    """One file of `roles/`."""
    return (files("receiver.adapters.store") / "roles" / f"{name}.sql").read_text("utf-8")


def script() -> str:
    """Everything that `db-roles` does, for a person to read or run; passwords are theirs to set."""
    made = "\n".join(
        f"DO $$ BEGIN IF to_regrole('{name}') IS NULL THEN CREATE ROLE {name} LOGIN; END IF; END $$;" for name in NAMES
    )
    heading = f"-- then, for each: \\password NAME\n{made}"
    rights = [_rights(name) for name in NAMES]
    return "\n\n".join([heading, "SELECT memory_vectors();", *rights, text_of("guards"), _NOTHING_OF_ITS_OWN])


async def create(connection: psycopg.AsyncConnection[Any]) -> dict[str, str]:
    """Make the roles that are missing and give each its rights; the passwords of the new ones."""
    fresh: dict[str, str] = {}
    async with connection.transaction():
        for name in NAMES:
            if not await _is_there(connection, name):
                fresh[name] = secrets.token_urlsafe(32)
                await connection.execute(
                    words.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        words.Identifier(name), words.Literal(fresh[name])
                    )
                )
        await _grant(connection, NAMES)
    return fresh


async def grant_again(connection: psycopg.AsyncConnection[Any]) -> None:
    """After a migration: the roles that were made have their rights on what is new, too."""
    known = [name for name in NAMES if await _is_there(connection, name)]
    if known:
        row = await (await connection.execute("SELECT to_regproc('works_as')")).fetchone()
        if row and row[0]:  # this database has them, not only another one of the same server
            await _grant(connection, known)


async def _grant(connection: psycopg.AsyncConnection[Any], names: tuple[str, ...] | list[str]) -> None:
    try:
        await connection.execute("SELECT memory_vectors()")  # before the rights on it: no role could make it later
        for name in names:
            await connection.execute(_rights(name).encode())
        await connection.execute(text_of("guards").encode())
        await connection.execute(_NOTHING_OF_ITS_OWN)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            f"giving database roles their rights: {str(error).splitlines()[0]}",
            next_step="connect as the owner of gitmedic's tables, who may create roles; or run what --print shows",
            reason="db_roles",
        ) from None


def _rights(name: str) -> str:
    """From nothing: what an older version gave is taken back."""
    return (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name};\n"
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {name};\n"
        f"GRANT USAGE ON SCHEMA public TO {name};\n{text_of(name)}"
    )


async def _is_there(connection: psycopg.AsyncConnection[Any], name: str) -> bool:
    row = await (await connection.execute("SELECT to_regrole(%s)", (name,))).fetchone()
    return bool(row and row[0])
