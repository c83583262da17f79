"""`gitmedic doctor`: what works on this machine, what does not, and how to mend it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

from receiver.cli.command import command, run_async, say, show, table, working
from receiver.cli.exits import Code

if TYPE_CHECKING:
    from receiver.adapters.repo.git import OpsRepository
    from receiver.domain.finding import Finding


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor")
    def doctor() -> int:
        """Check this machine, the data directory, the database, the sources, the catalog and the forge."""
        with working("asking the database, the sources, git and the sandbox"):
            rows = run_async(_examine())
        cells = [(row.status, row.what, row.found, row.fix) for row in rows]
        is_red = any(row.status == "bad" for row in rows)
        data = {"schema": 1, "healthy": not is_red, "items": [row.model_dump() for row in rows], "next": None}
        show(data, lambda: table(("status", "what", "found", "how to fix"), cells))
        say("something will not work: see the rows that say bad" if is_red else "nothing is red")
        return int(Code.FAILED if is_red else Code.OK)


async def _examine() -> list[Finding]:
    from receiver.cli.open import settings
    from receiver.connecting.rows import forge
    from receiver.doctor import examine

    return await examine(settings(), _repo, (("forge", forge),))


@asynccontextmanager
async def _repo() -> AsyncIterator[OpsRepository]:
    from receiver.cli.open import office

    async with office() as opened:
        yield opened.repo
