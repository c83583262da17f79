"""`gitmedic upgrade` and `gitmedic db-roles`: what is done to the database as a whole, by whoever owns it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.command import command, line, run_async, say, show
from receiver.cli.open import settings


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "upgrade")
    def upgrade() -> None:
        """Bring the database to this version: before workers on other machines are started anew."""
        from receiver import starter

        applied = run_async(starter.upgrade(settings()))
        data = {"schema": 1, "applied": applied}
        show(data, lambda: line(f"{len(applied)} migrations applied: {', '.join(applied) or 'it was up to date'}"))

    @command(app, "db-roles")
    def db_roles(
        print_: Annotated[bool, typer.Option("--print", help="Print the SQL, and change nothing.")] = False,
        passwords: Annotated[
            Path | None, typer.Option("--passwords", metavar="DIR", help="Where new passwords are written, mode 0600.")
        ] = None,
    ) -> None:
        """Give the server, the planner and the executor each a database role with only the rights it needs.

        Asked again it gives them their rights anew, as an upgrade with migrations does by itself. A role that is there
        keeps its password.
        """
        from receiver.adapters.store import narrow

        if print_:
            line(narrow.script())
            return
        from receiver import starter

        found = settings()
        folder = passwords or found.data_dir
        made = run_async(starter.database_roles(found, folder))
        data = {"schema": 1, "roles": list(narrow.NAMES), "passwords": [str(path) for path in made]}
        show(data, lambda: line(f"roles: {', '.join(narrow.NAMES)}"))
        for path in made:
            say(f"new password: {path}")
        say("next: use each in its process's database.url; gitmedic doctor says which one this is")
