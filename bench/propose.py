"""How long a proposal takes when the ops repository already holds many run files.

What is measured: milliseconds of a proposal, of its merge on the local forge and of the landing facts (medians of
20), at 100, 10,000 and 100,000 run files. Target: a proposal takes at most twice as long at the largest as at the
smallest; git's own tree objects grow, a work tree would grow much faster.

The same to a repository elsewhere, fetched and pushed: beside 1,000 closed proposals at most 1.2 times that beside 10.
The forge is a bare repository on this disk, so that nothing of it but git's own work is in the figure.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from bench import place
from bench.report import Measure
from receiver.adapters.repo.creation import create_mirror, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.proposal import Proposal

NAME = "propose"
SIZES = (100, 10_000, 100_000)
PROPOSALS = 20
_MOST = 2.0
CLOSED = (10, 1000)
_MOST_CLOSED = 1.2
START = datetime(2024, 1, 1, tzinfo=UTC)
WHAT = ("a proposal", "its merge", "its landing facts")


async def measure(
    rounds: int, seconds: float, *, sizes: Sequence[int] = SIZES, proposals: int = PROPOSALS
) -> AsyncIterator[Measure]:
    """All sizes in turn; `seconds` has no say, a count has."""
    del seconds
    times: dict[int, list[tuple[float, ...]]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory(prefix="gitmedic-bench-", dir=place.BASE) as folder:
        repositories = {size: _made(Path(folder), size) for size in sizes}
        for number in range(rounds):
            for size, repository in repositories.items():
                await repository.sweep()
                times[size].append(await _round(repository, size + number * proposals, proposals))
        for repository in repositories.values():
            await repository.close()
    smallest = times[sizes[0]]
    for position, what in enumerate(WHAT):
        for size in sizes:
            yield Measure(NAME, f"{what} at {size:,} run files", "ms", [one[position] for one in times[size]])
        for size in sizes[1:]:
            ratios = [one[position] / other[position] for one, other in zip(times[size], smallest, strict=True)]
            name = f"{what} at {size:,} to that at {sizes[0]:,}"
            if position:
                yield Measure(NAME, name, "ratio", ratios)
            else:
                yield Measure(NAME, name, "ratio", ratios, "<=", _MOST)
    async for one in elsewhere(rounds, proposals):
        yield one


async def elsewhere(rounds: int, proposals: int = PROPOSALS) -> AsyncIterator[Measure]:
    """A proposal to a forge's repository, beside few and many closed ones."""
    times: dict[int, list[float]] = {closed: [] for closed in CLOSED}
    with tempfile.TemporaryDirectory(prefix="gitmedic-bench-", dir=place.BASE) as folder:
        mirrors = {closed: _mirror(Path(folder), closed) for closed in CLOSED}
        for number in range(rounds):
            for closed, (mirror, there) in mirrors.items():
                taken = []
                for one in range(proposals):
                    id_ = UUID(int=10**6 + number * proposals + one)
                    begun = time.perf_counter()
                    await mirror.propose(
                        branch=f"gitmedic/{id_}", path=f"runs/2026/01/01/{id_}.yml", content=b"run\n", message="Bench"
                    )
                    taken.append(1000 * (time.perf_counter() - begun))
                    _git(there, "update-ref", f"refs/pull/{one}/head", f"refs/heads/gitmedic/{id_}")
                    _git(there, "update-ref", "-d", f"refs/heads/gitmedic/{id_}")
                times[closed].append(statistics.median(taken))
        for mirror, _ in mirrors.values():
            await mirror.close()
    few, many = CLOSED
    for closed in CLOSED:
        yield Measure(NAME, f"a proposal to a forge beside {closed:,} closed ones", "ms", times[closed])
    ratios = [one / other for one, other in zip(times[many], times[few], strict=True)]
    yield Measure(
        NAME, f"a proposal to a forge beside {many:,} to that beside {few}", "ratio", ratios, "<=", _MOST_CLOSED
    )


@dataclass(frozen=True)
class Folder:
    """An upstream on this disk."""

    url: str
    ca_file: Path | None = None
    ssh_command: str = ""

    async def login(self) -> tuple[str, str]:
        """Nobody asks."""
        return "bench", ""


def _mirror(folder: Path, closed: int) -> tuple[OpsRepository, Path]:
    there, here = folder / f"forge-{closed}.git", folder / f"mirror-{closed}.git"
    first = create_ops_repository(there, {"policy.yml": b"{}"}, "Bench <bench@localhost>")
    feed = "".join(f"create refs/pull/{10**6 + one}/head {first}\n" for one in range(closed))
    subprocess.run(
        ["git", "--git-dir", str(there), "update-ref", "--stdin"], input=feed.encode(), check=True, capture_output=True
    )
    _git(there, "pack-refs", "--all")
    url = f"file://{there}"
    create_mirror(here, url)

    async def adopted() -> str:
        return first

    return OpsRepository(RepoSettings(path=here), adopted, Folder(url)), there


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "--git-dir", str(folder), *words], check=True, capture_output=True)


def path_of(number: int) -> str:
    """50 runs a day."""
    return f"runs/{START + timedelta(days=number // 50):%Y/%m/%d}/{UUID(int=number)}.yml"


def _made(folder: Path, size: int) -> OpsRepository:
    files = {path_of(number): b"run: %d\n" % number for number in range(size)}
    first = create_ops_repository(folder / f"{size}.git", {"policy.yml": b"{}", **files}, "Bench <bench@localhost>")

    async def adopted() -> str:
        return first

    return OpsRepository(RepoSettings(path=folder / f"{size}.git"), adopted)


async def _round(repository: OpsRepository, first: int, proposals: int) -> tuple[float, ...]:
    """Medians in milliseconds: propose, merge, landing."""
    times: list[list[float]] = [[], [], []]
    for number in range(first, first + proposals):
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
        facts = await repository.landing(proposal, merge)
        times[2].append(time.perf_counter() - begun)
        if not (facts.reachable and facts.first_landing):
            raise SystemExit(f"landing {path}: {facts}")
    return tuple(1000 * statistics.median(one) for one in times)
