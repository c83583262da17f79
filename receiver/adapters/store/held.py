"""Locks for one case in hand: a worker that lost its lease takes none, and gives back none of its successor's.

Decides it by the case's fence, asked just before.
"""

from __future__ import annotations

from typing import Any

from receiver.adapters.store.cases import PostgresCases
from receiver.errors import Conflict
from receiver.ports import Lease, Locks


class HeldLocks:
    """The Locks port under a lease."""

    def __init__(self, locks: Locks, cases: PostgresCases, lease: Lease) -> None:
        self._locks, self._cases, self._lease = locks, cases, lease

    async def take(self, *asked: Any, **named: Any) -> str | None:
        """As the locks say; `Conflict` when the lease was lost."""
        if not await self._cases.holds(self._lease):
            raise Conflict(f"taking locks for case {self._lease.case.id}: its lease was lost")
        return await self._locks.take(*asked, **named)

    async def free(self, run: str) -> None:
        """Give back what this run holds, unless somebody else has the run by now."""
        if await self._cases.holds(self._lease):
            await self._locks.free(run)
