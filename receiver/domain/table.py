"""Tables of named questions: triage, guard and approval are three of them, in one style; holds are a fourth.

A row asks one question of one record of evidence. The row's name is the reason that people read, metrics
count and documents explain; the answer is a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from receiver.domain.outcome import Outcome
from receiver.domain.proposal import Answer

Evidence = TypeVar("Evidence")
Need = Literal["git", "forge", "database", "clock", "source"]


class NotHere(str):
    """An answer for a row that has nothing to ask in this place; says why."""


@dataclass(frozen=True)
class Row(Generic[Evidence]):
    """One question. `ask` gives None when all is well, `NotHere` when it is idle here, else why not."""

    name: str
    question: str
    ask: Callable[[Evidence], str | None]
    needs: tuple[Need, ...] = ()
    fails_as: Outcome | None = Outcome.REFUSED  #: None: not a no, come back later


def answer_all(
    rows: Iterable[Row[Evidence]], evidence: Evidence, *, needs: frozenset[Need] | None = None
) -> tuple[Answer, ...]:
    """Every row's answer; a row that needs what is not in `needs` does not apply here."""
    return tuple(_answer(row, evidence, needs) for row in rows)


def first_no(rows: Iterable[Row[Evidence]], evidence: Evidence) -> tuple[Row[Evidence], str] | None:
    """The first row that says no, with its sentence."""
    for row in rows:
        said = row.ask(evidence)
        if said is not None and not isinstance(said, NotHere):
            return row, said
    return None


def _answer(row: Row[Evidence], evidence: Evidence, needs: frozenset[Need] | None) -> Answer:
    if needs is not None and not needs.issuperset(row.needs):
        return Answer(name=row.name, passed=None, why="asked elsewhere")
    said = row.ask(evidence)
    if isinstance(said, NotHere):
        return Answer(name=row.name, passed=None, why=str(said))
    return Answer(name=row.name, passed=said is None, why=said or row.question)
