"""`gitmedic doctor`: what works on this machine, what does not, and how to mend it.

Decides what is red (something will not work), yellow (it works, and will not for long) and green. Each check
stands alone: one that breaks is a red row of its own and hides no other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import typer

from receiver.cli.command import command, run_async, say, show, table
from receiver.cli.exits import Code
from receiver.errors import GitmedicError, Refused

Status = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Row:
    """One answer."""

    status: Status
    what: str
    found: str
    fix: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor")
    def doctor() -> int:
        """Check this machine, the data directory, the database, the sources and the catalog."""
        rows = run_async(_examine())
        items = [asdict(row) for row in rows]
        cells = [(row.status, row.what, row.found, row.fix) for row in rows]
        is_red = any(row.status == "bad" for row in rows)
        data = {"schema": 1, "healthy": not is_red, "items": items, "next": None}
        show(data, lambda: table(("status", "what", "found", "how to fix"), cells))
        say("something will not work: see the rows that say bad" if is_red else "nothing is red")
        return int(Code.FAILED if is_red else Code.OK)


async def _examine() -> list[Row]:
    from receiver.cli.checks import CHECKS
    from receiver.cli.open import settings

    found = settings()
    rows: list[Row] = []
    for name, check in CHECKS:
        try:
            rows += await check(found)
        except GitmedicError as error:
            fix = error.next_step if isinstance(error, Refused) else "gitmedic up"
            rows.append(Row("bad", name, error.message, fix))
        except Exception as error:
            rows.append(Row("bad", name, f"{type(error).__name__}: {error}", "gitmedic doctor -vv"))
    return rows
