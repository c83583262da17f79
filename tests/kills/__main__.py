"""The kill table: `python -m tests.kills [--seeds 5] [--lanes 2] [--write docs/kill-table.md] [word …]`.

Plays every cell once per seed, in lanes of their own database server; words choose points or victims by their names.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from receiver.adapters.store.embedded import EmbeddedPostgres
from tests.kills.cell import Row, play
from tests.kills.points import CELLS, Victim
from tests.kills.stand import Forks, server
from tests.kills.table import page

Order = tuple[str, Victim, int]


def main() -> int:
    """Exit code 1 when anything was lost, run twice or left behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    cells = [cell for cell in CELLS if not given.words or any(word in cell for word in given.words)]
    orders = [(name, victim, seed) for seed in range(given.seeds) for name, victim in cells]
    rows: list[Row] = []
    lanes = [orders[lane :: given.lanes] for lane in range(given.lanes)]
    with _lanes(given.lanes) as pools:
        asyncio.run(_all(pools, lanes, rows))
    text = page(rows, given.seeds)
    print(text)
    if given.write:
        given.write.write_text(text)
    bad = [row for row in rows if row.problems]
    for row in bad:
        print(f"{row.point} / {row.victim}: {'; '.join(row.problems)}", file=sys.stderr)
    return bool(bad)


@contextlib.contextmanager
def _lanes(count: int) -> Iterator[list[tuple[EmbeddedPostgres, Forks]]]:
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            forks = Forks()
            stack.callback(forks.close)
            made.append((stack.enter_context(server()), forks))
        yield made


async def _all(pools: list[tuple[EmbeddedPostgres, Forks]], lanes: list[list[Order]], rows: list[Row]) -> None:
    async def lane(postgres: EmbeddedPostgres, forks: Forks, orders: list[Order]) -> None:
        for name, victim, seed in orders:
            begun = time.monotonic()
            try:
                row = await play(postgres, forks, name, victim, seed)
            except Exception as error:
                row = Row(name, victim, None, 0, (f"without an owner: it did not end: {error!r}",))
            rows.append(row)
            took = time.monotonic() - begun
            print(f"{took:5.1f} s  {name} / {victim} / {seed}: {row.outcome} {row.problems or ''}", file=sys.stderr)

    await asyncio.gather(*[lane(*pool, orders) for pool, orders in zip(pools, lanes, strict=True)])
    order = {cell: number for number, cell in enumerate(CELLS)}
    rows.sort(key=lambda row: order[row.point, row.victim])


if __name__ == "__main__":
    sys.exit(main())
