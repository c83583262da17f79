"""A measure, its verdict, and the table of all of them.

A figure of one machine says little, so what is judged is mostly a ratio of two things measured in turn in one
run. A ratio whose rounds lie far apart is not judged at all: the machine was busy with something else.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: (max - min) / median of the rounds, above which a ratio says nothing
WIDE = 0.3


@dataclass(frozen=True)
class Measure:
    """One figure: a value per round, and what it should be."""

    group: str
    name: str
    unit: str
    rounds: Sequence[float]
    sign: Literal["", "<", "<=", ">="] = ""  #: none: printed only
    target: float = 0.0
    note: str = ""

    @property
    def median(self) -> float:
        """Of the rounds; 0 without any."""
        return statistics.median(self.rounds) if self.rounds else 0.0

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of their median."""
        return (max(self.rounds) - min(self.rounds)) / abs(self.median) if self.median else 0.0

    def holds(self, value: float) -> bool:
        """Whether one value is as it should be."""
        return {"<": value < self.target, "<=": value <= self.target, ">=": value >= self.target}[self.sign]

    @property
    def verdict(self) -> str:
        """`met`, `missed`, `spread too wide`, or nothing when there is no target; without a round `not to be had`.

        Ratios are judged by how far their rounds lie apart alone. A bound in seconds or bytes may be met by far in
        every round, and a wide spread below it takes nothing away.
        """
        if not self.rounds:
            return "not to be had"
        if not self.sign:
            return ""
        same = len({self.holds(value) for value in self.rounds}) == 1
        if self.spread > WIDE and (self.unit == "ratio" or not same):
            return "spread too wide"
        return "met" if self.holds(self.median) else "missed"

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        wanted = f"{self.sign} {number(self.target)}" if self.sign else ""
        span = f"{number(min(self.rounds))} to {number(max(self.rounds))}" if len(self.rounds) > 1 else ""
        found = number(self.median) if self.rounds else "–"
        return self.name, found, self.unit, span, wanted, self.verdict, self.note


@dataclass
class Report:
    """What a whole run found."""

    machine: dict[str, str]
    measures: list[Measure] = field(default_factory=list)
    #: by group: how often and how long, and the load of the machine before and after
    circumstances: dict[str, str] = field(default_factory=dict)

    def markdown(self, previous: str = "") -> str:
        """The page `bench/results.md`; what a run did not measure stays as it was."""
        _, *parts = re.split(r"^## ", previous, flags=re.MULTILINE)
        sections = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}
        for group in dict.fromkeys(measure.group for measure in self.measures):
            lines = [self.circumstances.get(group, ""), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
            lines += ["| " + " | ".join(m.row()) + " |" for m in self.measures if m.group == group]
            sections[group] = "\n".join(lines)
        text = "# Results of `make bench`\n\nMedians of the rounds, written by `make bench`; do not edit.\n\n"
        text += "\n".join(f"- {name}: {value}" for name, value in self.machine.items()) + "\n"
        return text + "".join(f"\n## {group}\n\n{section}\n" for group, section in sections.items())

    def plain(self) -> dict[str, Any]:
        """For `--json`."""
        rows = [asdict(one) | {"median": one.median, "verdict": one.verdict} for one in self.measures]
        return {"machine": self.machine, "circumstances": self.circumstances, "measures": rows}


HEAD = ("measure", "median", "unit", "rounds", "target", "verdict", "note")


def table(measures: Sequence[Measure]) -> str:
    """For the terminal."""
    rows = [HEAD, *(measure.row() for measure in measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies; of sorted or unsorted values, at least one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
