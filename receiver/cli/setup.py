"""`gitmedic init`: the first command, and one that may be given again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.command import command, line, run_async, say, show, working
from receiver.cli.open import settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "init")
    def init(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where your work tree will be.")],
    ) -> None:
        """Make the data directory, the ops repository with the starter content, and your work tree DIR.

        You become the first person in policy.yml, and the first commit is put in force in your name.
        """
        from receiver import starter

        found = settings()
        with working("making the database and the repository"):
            made = run_async(starter.init(found, folder))
        data = {
            "schema": 1, "data_dir": str(found.data_dir), "work_tree": str(made.work_tree),
            "repository": str(found.repo.path), "commit": made.commit, "person": made.person,
        }  # fmt: skip
        show(data, lambda: line(f"{made.work_tree} is your work tree; revision {made.commit[:12]} is in force"))
        if made.is_new:
            say(f"{made.person} may approve up to medium: see policy.yml")
        say(f"settings: {found.file}")
        say("next: gitmedic up")
