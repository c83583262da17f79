"""What the commands open: the settings, and the store or the whole office of this data directory.

Decides that the commands talk to the database directly, as the OS user who owns the data directory; a server
need not answer, but a database must run. Refuses everybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.cli.command import given
from receiver.cli.exits import SettingsInvalid
from receiver.errors import Invalid, Refused, Unavailable

if TYPE_CHECKING:
    from receiver.config import Settings
    from receiver.office import Office, Store


def settings(listen: str | None = None) -> Settings:
    """The settings of the data directory that this command was given."""
    from receiver.config import load

    try:
        return load(given().data_dir, given().config, listen)
    except Invalid as error:
        raise SettingsInvalid(error) from None


def existing(listen: str | None = None) -> Settings:
    """The same, of a data directory that is there already and ours."""
    from receiver.starter import owns

    found = settings(listen)
    if not found.data_dir.is_dir():
        raise Refused(
            f"opening the data directory {str(found.data_dir)!r}: there is none",
            next_step="gitmedic init DIR, or name another: --data-dir",
            reason="data_dir",
        )
    if not owns(found.data_dir):
        raise Refused(
            f"opening the data directory {str(found.data_dir)!r}: it belongs to somebody else",
            next_step="run this as the user who owns it",
            reason="not_owner",
        )
    return found


@asynccontextmanager
async def store() -> AsyncIterator[Store]:
    """What happened."""
    found = _running(existing())
    from receiver import office as offices

    async with offices.open_store(found) as opened:
        yield opened


@asynccontextmanager
async def office() -> AsyncIterator[Office]:
    """What happened, what was approved, and the acts of people."""
    found = _running(existing())
    from receiver import office as offices

    async with offices.open_office(found) as opened:
        yield opened


def _running(found: Settings) -> Settings:
    """Refuse at once where no database can answer, instead of waiting for it."""
    if found.embedded:
        named = found.data_dir / "postgres.socket"
        if not named.exists() or not Path(named.read_text()).exists():
            raise Unavailable(f"opening the database in {str(found.data_dir)!r}: it does not run; start gitmedic up")
    return found
