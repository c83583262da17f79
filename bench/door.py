"""`gitmedic serve` without the commit: the limit of the HTTP stack and of reading a payload.

    python -m bench.door --data-dir DIR --listen HOST:PORT

The same wiring, the same handler, the same check of the token and the same reading of every alert; only that
nothing is stored. What a commit costs is what the real one is slower than this.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from receiver import office
from receiver.adapters.store.inbox import PostgresInbox
from receiver.cli.command import run_async
from receiver.config import load
from receiver.ports import Post, Receipt
from receiver.web.server import new_loop
from receiver.wiring.serve import serve


class ReadOnlyInbox(PostgresInbox):
    """Reads, answers and forgets."""

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        """The answer to alerts that were all new."""
        read = [self._read(post) for post in posts]
        return [Receipt(alerts=len(one.alerts), new=len(one.alerts), unreadable=len(one.unreadable)) for one in read]


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    given = parser.parse_args()
    office.PostgresInbox = ReadOnlyInbox  # type: ignore[attr-defined]
    run_async(serve(load(given.data_dir, environment={"GITMEDIC_LISTEN": given.listen})), new_loop)


if __name__ == "__main__":
    main()
