"""What the executor needs to run anything; nobody else reads this."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class RunnerSettings(BaseModel):
    """`[runner]`: where runs live while they run, and how they are shut in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: runs work below it, one directory each, removed afterwards; empty = `<data-dir>/scratch`
    scratch: Path | None = None
    #: host keys that are believed, in OpenSSH's format; empty = `<data-dir>/known_hosts`
    known_hosts: Path | None = None
    #: holds `ansible_collections`, of which runs get what `collections.lock` pins; empty = this program's environment
    collections: Path | None = None
    #: the sandbox program; a name is looked up on PATH
    bwrap: str = "bwrap"
    #: this rung of isolation or nothing: netns, bwrap or landlock; empty = the strongest that works here
    rung: Literal["", "netns", "bwrap", "landlock"] = ""
