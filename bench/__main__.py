"""`python -m bench [group ...] [--rounds 3] [--seconds 5] [--json FILE]`: measure, judge, write `bench/results.md`.

Without a group all are measured but those that must be asked for by name. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import executor, lists, machine, memory, opening, peer, place, propose, stages, start, webhook
from bench import run as runs
from bench.report import Measure, Report, table

RESULTS = Path(__file__).with_name("results.md")
Measuring = Callable[[int, float], AsyncIterator[Measure]]


@dataclass(frozen=True)
class Group:
    """One file of the suite."""

    measure: Measuring
    about: str
    is_asked_for: bool = False  #: by name only


GROUPS = {
    webhook.NAME: Group(webhook.measure, "the webhook beside the same handler without a commit, and a bare feed"),
    opening.NAME: Group(opening.measure, "stored alerts become cases"),
    stages.NAME: Group(stages.measure, "the way of a case, from its own events"),
    runs.NAME: Group(runs.measure, "a run beside bare ansible-playbook"),
    executor.NAME: Group(executor.measure, "two executors beside one, many events, and a cancel"),
    propose.NAME: Group(propose.measure, "a proposal beside many old ones"),
    lists.NAME: Group(lists.measure, "pages of an installation with 100,000 cases"),
    memory.NAME: Group(memory.measure, "a recall, however much is remembered"),
    start.NAME: Group(start.measure, "start and memory"),
    peer.NAME: Group(peer.measure, "the webhook beside ansible-rulebook, which is installed for it", is_asked_for=True),
}
USUAL = [name for name, group in GROUPS.items() if not group.is_asked_for]


async def measured(names: list[str], rounds: int, seconds: float) -> Report:
    """Measure these groups one after the other."""
    report = Report(machine.described(place.postgres_programs()))
    before = RESULTS.read_text() if RESULTS.exists() else ""
    for name in names:
        print(f"\n{name}: {GROUPS[name].about}", flush=True)
        load = machine.load()
        found = [one async for one in GROUPS[name].measure(rounds, seconds)]
        report.measures += found
        report.circumstances[name] = f"{rounds} rounds of {seconds:g} s; load {load} before, {machine.load()} after."
        print(table(found), flush=True)
        RESULTS.write_text(report.markdown(before))  # a later group that fails takes nothing away
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures with their rounds")
    given = parser.parse_args()
    unknown = sorted(set(given.groups) - set(GROUPS))
    if unknown:
        parser.error(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    report = asyncio.run(
        measured(
            given.groups or USUAL,
            given.rounds,
            given.seconds,
        )
    )
    if given.json:
        given.json.write_text(json.dumps(report.plain(), indent=2) + "\n")
    print(f"\nwritten to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    missed = [one.name for one in report.measures if one.verdict == "missed"]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
