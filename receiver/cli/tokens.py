"""`gitmedic token` and `gitmedic link`: how scripts and people get in.

A secret is shown once and kept only as its hash. Both work beside a running server and before the first
start: where no database runs, it is started for the moment.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.command import command, group, line, run_async, say, show, table
from receiver.cli.open import settings
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.office import Store

SCOPES = ("read", "alerts:write", "dispatch", "admin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: as in `[[sources]]`
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    tokens = group("token", "Bearer tokens for Alertmanager and for scripts. No token can approve.")
    app.add_typer(tokens)

    @command(tokens, "create")
    def create(
        scope: Annotated[str, typer.Option("--scope", help="read, alerts:write, dispatch or admin.")],
        name: Annotated[str, typer.Option("--name", help="What it is called in lists and in the audit.")] = "",
        source: Annotated[
            str, typer.Option("--source", help="The only source it may send alerts for (alerts:write).")
        ] = "",
    ) -> None:
        """Make a token and show its secret, once."""
        run_async(_create(scope, name, source))

    @command(tokens, "list")
    def list_all() -> None:
        """All tokens, without their secrets."""
        run_async(_list())

    @command(tokens, "revoke")
    def revoke(name: Annotated[str, typer.Argument(help="As `gitmedic token list` shows it.")]) -> None:
        """Let a token in no more, from now on."""
        run_async(_revoke(name))

    @command(app, "link")
    def link(
        person: Annotated[str, typer.Argument(help="A name of `people` in policy.yml; you when not given.")] = "",
    ) -> None:
        """Print an address that signs a person in once, in the browser that opens it."""
        run_async(_link(person))


@asynccontextmanager
async def _borrowed() -> AsyncIterator[Store]:
    from receiver import office as offices
    from receiver import starter

    found = settings()
    async with starter.database(found), offices.open_store(found) as store:
        yield store


async def _create(scope: str, name: str, source: str) -> None:
    from receiver.starter import os_user

    if scope not in SCOPES:
        raise Refused(
            f"making a token: {scope!r} is no scope",
            next_step=f"--scope {'|'.join(SCOPES)}",
            reason="invalid",
        )
    if source and scope != "alerts:write":
        raise Refused(
            "making a token: --source is for --scope alerts:write",
            next_step="leave one of them out",
            reason="invalid",
        )
    name = name or f"{scope.replace(':', '-')}-{secrets.token_hex(3)}"
    if not _NAME.fullmatch(name):
        raise Refused(
            f"making a token: name {name!r:.80} has more than letters, digits, dot, dash, underscore",
            next_step="--name home", reason="invalid",
        )  # fmt: skip
    if source and not _SOURCE.fullmatch(source):
        raise Refused(
            f"making a token: source {source!r:.80} has more than small letters, digits, dash, underscore",
            next_step="--source home", reason="invalid",
        )  # fmt: skip
    async with _borrowed() as store:
        secret = await store.access.create_token(name, scope, source=source, created_by=f"os:{os_user()}")
    data = {"schema": 1, "name": name, "scope": scope, "source": source, "token": secret}
    show(data, lambda: line(secret))
    say(f"token {name!r} is shown once; take it back with: gitmedic token revoke {name}")


async def _list() -> None:
    async with _borrowed() as store:
        rows = await store.access.list_tokens()
    columns = ("name", "scope", "source", "created_at", "created_by", "used_at", "revoked_at")
    show(
        {"items": rows, "next": None},
        lambda: table(columns, [[row.get(one) for one in columns] for row in rows]),
    )


async def _revoke(name: str) -> None:
    async with _borrowed() as store:
        if not await store.access.revoke_token(name):
            raise Refused(f"revoking token {name!r}: there is none", next_step="gitmedic token list", reason="invalid")
    show({"schema": 1, "name": name, "revoked": True}, lambda: line(f"token {name!r} is revoked"))


async def _link(person: str) -> None:
    from receiver import office as offices
    from receiver import starter
    from receiver.cli.people import named

    found = settings()
    async with starter.database(found), offices.open_office(found) as office:
        who = named(await office.doors.policy(), person).name
        secret = await office.store.access.create_setup_link(who)
    url = f"{found.web.url}/setup?t={secret}"
    show({"schema": 1, "person": who, "url": url}, lambda: line(url))
    say(f"it signs {who} in once; send it to nobody else")
