"""Connections to PostgreSQL, and its errors by consequence.

Decides which trouble passes by itself (connections, locks, disk, a server that restarts: `Unavailable`) and
which is a bug of ours (`Broken`). Data errors are left to those who sent the data.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from receiver.errors import Broken, GitmedicError, Unavailable

#: SQLSTATE classes and codes that time or an operator mends
_PASSING = ("08", "40", "53", "55", "57", "58")
#: SQLSTATE classes for which what was sent is at fault, not the database: cardinality, data, integrity, a limit
AT_FAULT = ("21", "22", "23", "54")
#: seconds to wait for a free connection before saying so
WAIT_SECONDS = 5.0
#: a connection that lived so long ago is asked again before it is used
_CHECK_SECONDS = 1.0


@asynccontextmanager
async def open_pool(dsn: str, *, name: str = "gitmedic", most: int = 8) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """A pool of autocommit connections; broken ones are replaced, a server that restarts is waited for."""
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=most,
        timeout=WAIT_SECONDS,
        open=False,
        kwargs={"autocommit": True, "application_name": name, "connect_timeout": 3},
        check=_RecentlyChecked(),
        reconnect_timeout=30,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close(timeout=5)


class _RecentlyChecked:
    """Asks a connection whether it lives, unless it was asked a moment ago: under load that is each time in vain."""

    def __init__(self) -> None:
        self._asked_at: WeakKeyDictionary[psycopg.AsyncConnection[Any], float] = WeakKeyDictionary()

    async def __call__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        now = time.monotonic()
        if now - self._asked_at.get(connection, -math.inf) > _CHECK_SECONDS:
            await AsyncConnectionPool.check_connection(connection)
            self._asked_at[connection] = now


def is_at_fault(error: psycopg.Error) -> bool:
    """Whether the same again would fail the same way, however well the database is."""
    return (error.sqlstate or "")[:2] in AT_FAULT


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of the database as ours; `what` says what was being done."""
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise translate(error, what) from error


def translate(error: BaseException, what: str = "asking the database") -> GitmedicError:
    """`Unavailable` for what passes, else `Broken`."""
    state = getattr(error, "sqlstate", None) or ""
    pool = isinstance(error, PoolTimeout | PoolClosed | TooManyRequests)
    lost = isinstance(error, OSError | psycopg.OperationalError | psycopg.InterfaceError) and not state
    if pool or lost or state[:2] in _PASSING:
        text = str(error).strip().split("\n")[0] or type(error).__name__
        return Unavailable(f"{what}: the database is not available: {text}")
    return Broken(f"{what}: {type(error).__name__} {state}: {error}")
