"""The forge's own SQL, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from receiver.errors import Broken, GitmedicError, Unavailable

_PASSING = ("08", "40", "53", "55", "57", "58")


@cache
def sql() -> dict[str, LiteralString]:
    """Name → statement."""
    text = (files("receiver.adapters.forge") / "queries.sql").read_text("utf-8")
    _, *parts = re.split(r"^-- name: ([a-z_]+)\s*$", text, flags=re.MULTILINE)
    # our own file, read once: as constant as a string in the code
    return {
        name: cast(LiteralString, part.strip().rstrip(";")) for name, part in zip(parts[::2], parts[1::2], strict=True)
    }


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The database's errors as ours, with what was being done."""
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise _as_ours(error, doing) from error


def _as_ours(error: BaseException, doing: str) -> GitmedicError:
    state = getattr(error, "sqlstate", None) or ""
    lost = isinstance(error, OSError | psycopg.OperationalError | psycopg.InterfaceError) and not state
    if lost or isinstance(error, PoolTimeout | PoolClosed | TooManyRequests) or state[:2] in _PASSING:
        return Unavailable(f"{doing}: the database is not available: {str(error).strip()[:200]}")
    return Broken(f"{doing}: {type(error).__name__} {state}: {error}")
