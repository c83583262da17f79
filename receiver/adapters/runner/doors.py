"""What leads out of a run's sandbox: its private place, and where connections may begin.

Decides how a run comes to its secrets and its agent on each rung, and which address each of its connections begins at.
Refuses nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from receiver.adapters.runner.gate import agent_door, network_gate
from receiver.adapters.runner.place import SHOWN, lay_out
from receiver.adapters.runner.sandbox import BY_BWRAP, Cell, give_to, seen_at
from receiver.adapters.runner.seen import NAME
from receiver.domain.run import Hop, Job, JobHost


def first_hops(job: Job) -> set[tuple[str, int]]:
    """Where connections begin: at a target itself, or at the first host on the way to it."""
    firsts: list[Hop | JobHost] = [host.jump[0] if host.jump else host for host in job.hosts]
    return {(first.address, first.port) for first in firsts}


@contextlib.asynccontextmanager
async def open_doors(job: Job, cell: Cell, place: Path | None) -> AsyncIterator[Cell]:
    """The cell with what leads out of it: its private place, and the gate where there is no network."""
    if place is None:
        yield cell
    elif job.isolation == "netns":
        async with network_gate(cell.scratch, seen_at("netns", cell), frozenset(first_hops(job))):
            yield replace(cell, agent=place)
    elif cell.kind != "same":
        folder = place / SHOWN  # in memory where the place is, and gone with it
        async with agent_door(folder, place, cell.uid):
            lay_out(place, folder)
            if cell.uid is not None:
                give_to(folder, cell.uid)
            if cell.kind == "nobody":  # nothing can be mounted: it walks there
                place.chmod(0o711)
                (cell.scratch / NAME).symlink_to(folder)
            yield replace(cell, agent=folder)
    else:
        if job.isolation not in BY_BWRAP:
            (cell.scratch / NAME).symlink_to(place)
        yield replace(cell, agent=place)
