"""Named SQL from `queries/*.sql`: `-- name: take_slot`, comment lines that say why, then one statement.

Refuses a name that is there twice and a name that is not there.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import LiteralString, cast

from receiver.errors import Broken

_NAME = re.compile(r"^-- name: ([a-z_]+)\s*$", re.MULTILINE)


class Queries(dict[str, LiteralString]):
    """Name → statement; a missing name is a bug of ours."""

    def __missing__(self, name: str) -> LiteralString:
        raise Broken(f"no query named {name!r}; there are {', '.join(sorted(self))}")


@functools.cache
def load(noun: str) -> Queries:
    """The statements of `queries/<noun>.sql`."""
    text = (files("receiver.adapters.store") / "queries" / f"{noun}.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    found = Queries()
    for name, statement in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise Broken(f"queries/{noun}.sql has {name!r} twice")
        # our own file, read once: as constant as a string in the code
        found[name] = cast(LiteralString, statement.strip().rstrip(";"))
    return found
