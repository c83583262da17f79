"""SIGKILL at each named point of the way: nothing lost, nothing twice, nobody left, nothing held (P1, P3, P8).

One seed of the chosen cells; `make kills` plays all of them with five and writes docs/kill-table.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.adapters.store.embedded import EmbeddedPostgres
from tests.kills.cell import Row, play
from tests.kills.points import CELLS, CHOSEN, POINTS, Victim
from tests.kills.stand import Forks
from tests.kills.table import page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    started = Forks()
    yield started
    started.close()


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "victim"), CHOSEN, ids=[f"{victim} at {name}" for name, victim in CHOSEN])
async def test_a_kill_loses_nothing_and_leaves_nothing(
    postgres: EmbeddedPostgres, forks: Forks, name: str, victim: Victim
) -> None:
    row = await play(postgres, forks, name, victim, 0)
    assert row.problems == (), row


def test_the_points_are_many_and_each_kind_of_process_dies() -> None:
    assert len(POINTS) >= 25 and {name for name, _ in CHOSEN} == set(POINTS)
    assert {victim for _, victim in CHOSEN} == {"serve", "plan", "execute", "child", "postgres", "all"}


def test_a_problem_is_counted_in_its_column() -> None:
    problems = ("lost: an alert without a case (1,)", "orphan: process 1", "held by nobody: locks (2,)", "ended failed")
    text = page([Row("planned", "plan", None, 1, problems), Row("planned", "plan", None, 0)], 2)
    assert "| planned | plan | plan | None 2 | 1 | 1 | 0 | 0 | 1 | 1 |" in text
    assert "**1 lost, 0 twice, 0 without an owner, 1 orphan, 1 held by nobody**; 1 ended otherwise" in text


def test_the_page_in_the_docs_is_of_these_points_and_says_zero() -> None:
    text = (DOCS / "kill-table.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| [a-z]+ \| ([a-z]+) \| [^|]+ \| \d+ \|((?: \d+ \|){5})$", text, re.MULTILINE)
    assert {(name, victim) for name, victim, _ in rows} <= set(CELLS) and {row[0] for row in rows} == set(POINTS), (
        "make kills"
    )
    assert {counts for _, _, counts in rows} == {" 0 |" * 5}
