"""How long a proposal takes at a growing number of run files; the ratio should stay near 1.

    python bench/propose.py [100 10000 ...]

Prints, for each size, medians of 20 proposals, of their merges on the local forge and of the landing facts,
each also as a ratio to the first size.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.proposal import Proposal

ROUNDS = 20
START = datetime(2024, 1, 1, tzinfo=UTC)


def path_of(number: int) -> str:
    """50 runs a day."""
    return f"runs/{START + timedelta(days=number // 50):%Y/%m/%d}/{UUID(int=number)}.yml"


async def measure(folder: Path, size: int) -> tuple[float, float, float]:
    """Medians in milliseconds: propose, merge, landing."""
    files = {path_of(number): b"run: %d\n" % number for number in range(size)}
    first = create_ops_repository(folder / f"{size}.git", {"policy.yml": b"{}", **files}, "Bench <bench@localhost>")

    async def adopted() -> str:
        return first

    repository = OpsRepository(RepoSettings(path=folder / f"{size}.git"), adopted)
    await repository.sweep()
    times: list[list[float]] = [[], [], []]
    for number in range(size, size + ROUNDS):
        branch, path = f"gitmedic/{UUID(int=number)}", path_of(number)
        begun = time.perf_counter()
        head, base = await repository.propose(branch=branch, path=path, content=b"run: %d\n" % number, message="Bench")
        times[0].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        merge, tip = await repository.prepare_merge(head, "Merge")
        if not await repository.land(merge, tip, branch, head):
            raise SystemExit("the base moved")
        times[1].append(time.perf_counter() - begun)
        proposal = Proposal(
            run_id=str(UUID(int=number)), path=path, branch=branch, sha256="", head_sha=head, base_sha=base,
            number=1, url="", expires_at=START,
        )  # fmt: skip
        begun = time.perf_counter()
        facts = await repository.landing(proposal, merge, "playbooks")
        times[2].append(time.perf_counter() - begun)
        if not (facts.reachable and facts.first_landing):
            raise SystemExit(f"landing {path}: {facts}")
    await repository.close()
    propose, merged, landed = (1000 * statistics.median(one) for one in times)
    return propose, merged, landed


def main() -> None:
    """Print the table."""
    sizes = [int(word) for word in sys.argv[1:]] or [100, 10_000]
    print("run files   propose ms (ratio)   merge ms (ratio)   landing ms (ratio)")
    base: tuple[float, float, float] | None = None
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(Path(folder), size))
        base = base or found
        cells = (f"{one:8.1f} ({one / other:.2f})" for one, other in zip(found, base, strict=True))
        print(f"{size:9}   " + "   ".join(cells))


if __name__ == "__main__":
    main()
