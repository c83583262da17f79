"""Stored alerts become cases: by the plan role, as it looks for work, never by the front door.

Decides which alert opens a case and which is a duplicate of one that is open. The front door stays as quick as its
one commit, and a crash between the two loses nothing: an alert without a case and without a why still waits. One that
cannot become a case is given up with its why, and holds up none of its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from psycopg.rows import dict_row
from pydantic import ValidationError

from receiver.adapters.store.pool import is_at_fault
from receiver.adapters.store.queries import load
from receiver.domain.alert import Alert
from receiver.domain.case import Received
from receiver.identity import new_id

log = structlog.get_logger()
SQL = load("opening")
#: of one commit: a storm opens its cases while the first of them are already looked at
MOST = 500


async def open_cases(connection: psycopg.AsyncConnection[Any]) -> int:
    """Open what waits, at most `MOST`; gives how many alerts were looked at. Two workers never open one twice."""
    if await (await connection.execute(SQL["any_waiting"])).fetchone() is None:
        return 0
    try:
        return await _open(connection, MOST, [])
    except psycopg.Error as error:
        if not is_at_fault(error):
            raise
    return await _open_one_by_one(connection)


async def _open_one_by_one(connection: psycopg.AsyncConnection[Any]) -> int:
    """One of them is at fault: each has a commit of its own, and the one that fails is given up."""
    looked = 0
    while looked < MOST:
        tried: list[int] = []
        try:
            await _open(connection, 1, tried)
        except psycopg.Error as error:
            if not is_at_fault(error):
                raise
            log.warning("alert.no_case", alerts=tried, error=str(error)[:200])
            await connection.execute(SQL["give_up"], {"alerts": tried})
        if not tried:
            break
        looked += 1
    return looked


async def _open(connection: psycopg.AsyncConnection[Any], most: int, tried: list[int]) -> int:
    """One commit; `tried` learns the numbers of the alerts before anything can fail."""
    async with connection.transaction():
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(SQL["waiting"], {"most": most})
        waiting = await cursor.fetchall()
        tried += [row["id"] for row in waiting]
        given = {row["id"]: case for row in waiting if (case := _case(row)) is not None}
        unreadable = [row["id"] for row in waiting if row["id"] not in given]
        if unreadable:
            await connection.execute(SQL["give_up"], {"alerts": unreadable})
        opened = await _opened(connection, list(given.values()))
        own = {alert: case.id for alert, case in given.items() if case.id in opened}
        # plans of their own: the tables grow a thousandfold between two looks of the planner at them
        await connection.execute(
            SQL["link"], {"alerts": list(own), "cases": list(own.values())}, prepare=False
        )  # fmt: skip
        others = [alert for alert in given if alert not in own]
        if others:
            # whose open case has ended this very moment stays, and opens its own in the next round
            await connection.execute(SQL["link_duplicates"], {"alerts": others}, prepare=False)
    return len(waiting)


def _case(row: dict[str, Any]) -> Received | None:
    fields = {name: value for name, value in row.items() if name not in ("id", "received_at")}
    try:
        return Received(id=new_id(), opened_at=row["received_at"], alert=Alert(**fields))
    except ValidationError:
        return None


async def _opened(connection: psycopg.AsyncConnection[Any], cases: Sequence[Received]) -> set[str]:
    """The ids of those that became cases."""
    rows = ",".join(_row(case) for case in cases)
    cursor = await connection.execute(SQL["open"], {"rows": f"[{rows}]"})
    return {str(id_) for (id_,) in await cursor.fetchall()}


def _row(case: Received) -> str:
    alert = case.alert
    copied = {
        "id": case.id, "severity": alert.severity_rank, "source": alert.source, "fingerprint": alert.fingerprint,
        "alertname": alert.name, "opened_at": case.opened_at.isoformat(),
    }  # fmt: skip
    # pydantic writes its own JSON several times faster than plain data would be written by `json`
    return f'{json.dumps(copied, ensure_ascii=False)[:-1]}, "body": {case.model_dump_json()}}}'
