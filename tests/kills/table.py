"""The kill table as a page: one row per point and victim, summed over the seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.kills.cell import Row
from tests.kills.points import POINTS

WHAT = ("lost", "twice", "without an owner", "orphan", "held by nobody")
_HEAD = """# Who may be killed, and when

Made by `make kills`, never by hand. At each named point of the way one process is killed with SIGKILL, exactly there
(and up to 50 ms later, as the seed says); then others take over, and what came of it is counted. *plan*, *execute* and
*serve* are our own processes, *child* is everything of the run itself (sandbox, Ansible, its modules), *postgres*
is killed and started again, *all* is all of them at once, as when the power fails.

- *changed*: how often the runs changed their target, counted at the target; never more than once per kill.
- *lost*: an alert without a row or without a case. *twice*: a second case, proposal, beginning or change.
- *no owner*: an open case, a lease, an attempt, a clearance or a proposal that nobody will end.
- *orphans*: processes and directories that are left when all is over. *locks*: locks and slots held by nobody.

`interrupted` means: the run had been claimed or begun, its executor is gone, and nobody can know what it did; a person
decides. `failed` and `rehearsal_failed` are the end of a run whose own process was killed, which the executor sees.

"""


def page(rows: Sequence[Row], seeds: int) -> str:
    """All of it."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.point, row.victim), []).append(row)
    sums = [sum(_count(row, what) for row in rows) for what in WHAT]
    bad = [row for row in rows if any(not problem.startswith(WHAT) for problem in row.problems)]
    found = ", ".join(f"{number} {what}" for number, what in zip(sums, WHAT, strict=True))
    lines = [
        f"{len({point for point, _ in cells})} points, {len(cells)} pairs of point and victim, {seeds} seeds,"
        f" {len(rows)} kills: **{found}**; {len(bad)} ended otherwise than allowed.",
        "",
        "| point | at work | killed | ended | changed | lost | twice | no owner | orphans | locks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for (point, victim), played in cells.items():
        ends = ", ".join(f"{end} {count}" for end, count in sorted(Counter(str(row.outcome) for row in played).items()))
        counts = " | ".join(str(sum(_count(row, what) for row in played)) for what in WHAT)
        changed = sum(row.lines for row in played)
        lines.append(f"| {point} | {POINTS[point].role} | {victim} | {ends} | {changed} | {counts} |")
    return f"{_HEAD}{chr(10).join(lines)}\n"


def _count(row: Row, what: str) -> int:
    return sum(problem.startswith(what) for problem in row.problems)
