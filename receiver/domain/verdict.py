"""From the raw answers of a source to one of three words (promise P7). Pure; the table is in `judge`.

| matching rows | series behind it | verdict |
|---|---|---|
| some | | still firing |
| none | every selector has fresh ones that speak of the alert | resolved |
| none | some selector has none, or only old ones | no data |

No data is never success, and neither is an answer that could mean either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from receiver.domain.entity import Entity, resolve
from receiver.domain.inventory import Inventory
from receiver.domain.outcome import Verdict
from receiver.domain.playbook import VerifyQuery
from receiver.domain.promql import Expression, Meaning
from receiver.domain.proof import Reading
from receiver.domain.record import Record


class Row(Record):
    """One series of an answer, without `__name__`."""

    labels: dict[str, str]
    value: float


class Answers(Record):
    """What a source said at one moment."""

    at: datetime
    rows: tuple[Row, ...]  #: of the expression itself
    samples: dict[str, tuple[Row, ...]]  #: selector → series with the time of their newest sample
    values: tuple[Row, ...] = ()  #: of a comparison's selector alone
    fired_at: datetime | None = None  #: last evaluation within the hold at which it fired


def judge(  # noqa: C901 - one step per row of the table
    expression: Expression,
    answers: Answers,
    labels: Mapping[str, str],
    *,
    own: frozenset[str] = frozenset(),
    newer_than: datetime | None,
    fresh_seconds: float,
) -> Reading:
    """The reading for one alert. `own` are labels that the rule itself adds, which no series has."""

    def reading(verdict: Verdict, why: str, value: float | None = None, at: datetime | None = None) -> Reading:
        return Reading(verdict=verdict, why=why, value=value, sample_at=at, expression=expression.text)

    firing = [row for row in answers.rows if agrees(row.labels, labels, own)]
    if firing:
        return reading(Verdict.STILL_FIRING, f"the expression still gives {firing[0].value:g}", firing[0].value)
    if expression.meaning is Meaning.UNDECIDED:
        return reading(Verdict.NO_DATA, "its expression uses absent or unless: an empty answer can mean either")
    newest: list[datetime] = []
    for selector in expression.selectors:
        seen = _behind(expression, answers.samples.get(selector, ()), labels, own)
        if not seen:
            return reading(Verdict.NO_DATA, f"no series of {selector} speaks of it any more")
        newest.append(max(seen))
    oldest = min(newest, default=None)
    if oldest is None:
        return reading(Verdict.NO_DATA, "its expression has no selector")
    if newer_than is not None and oldest <= newer_than:
        return reading(Verdict.NO_DATA, f"its newest sample is of {oldest:%H:%M:%S}, before the moment that counts")
    if (answers.at - oldest).total_seconds() > fresh_seconds:
        return reading(Verdict.NO_DATA, f"its newest sample is of {oldest:%H:%M:%S}, too old", at=oldest)
    if answers.fired_at is not None:
        return reading(Verdict.STILL_FIRING, f"it still fired at {answers.fired_at:%H:%M:%S}", at=oldest)
    value = _outside(expression, answers, labels, own)
    if expression.meaning is Meaning.COMPARISON and value is None:
        return reading(Verdict.NO_DATA, "its series shows no value outside the condition", at=oldest)
    said = f"its series is there and new, with value {value:g}" if value is not None else "its series are there and new"
    return reading(Verdict.RESOLVED, f"the expression is quiet; {said}", value, oldest)


def agrees(series: Mapping[str, str], labels: Mapping[str, str], own: frozenset[str]) -> bool:
    """Every label of the series is the alert's, but for those that the rule itself sets."""
    return all(labels.get(name) == value for name, value in series.items() if name not in own)


def touches(series: Mapping[str, str], labels: Mapping[str, str], own: frozenset[str]) -> bool:
    """No label that both have differs: a series may have more than an aggregated alert keeps."""
    return all(labels[name] == value for name, value in series.items() if name in labels and name not in own)


def is_target(
    series: Mapping[str, str], query: VerifyQuery, params: Mapping[str, Any], entity: Entity, inventory: Inventory
) -> bool:
    """A row of a verify query counts only if its labels mean the run's own host and its parameters."""
    found = resolve(series, inventory)
    if not isinstance(found, Entity) or found.host != entity.host:
        return False
    return all(series.get(label) == str(params.get(name)) for label, name in query.match.items())


def _behind(
    expression: Expression, rows: Sequence[Row], labels: Mapping[str, str], own: frozenset[str]
) -> list[datetime]:
    same = agrees if expression.meaning is Meaning.COMPARISON else touches
    return [datetime.fromtimestamp(row.value, UTC) for row in rows if same(row.labels, labels, own)]


def _outside(expression: Expression, answers: Answers, labels: Mapping[str, str], own: frozenset[str]) -> float | None:
    """The value of the alert's own series, when it is outside the condition."""
    if expression.meaning is not Meaning.COMPARISON:
        return None
    values = [row.value for row in answers.values if agrees(row.labels, labels, own)]
    return values[0] if values and not expression.holds(values[0]) else None
