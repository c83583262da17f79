"""Three values from raw answers, and what an expression is made of."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.outcome import Verdict
from receiver.domain.promql import Meaning, compare, parse_expression
from receiver.domain.verdict import Answers, Row, judge
from receiver.errors import Invalid

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
LABELS = {"alertname": "Down", "instance": "web1", "job": "node", "severity": "critical"}
MINE = {"instance": "web1", "job": "node"}
OTHER = {"instance": "web2", "job": "node"}


@pytest.mark.parametrize(
    ("text", "meaning", "selectors", "seconds"),
    [
        ("up == 0", Meaning.COMPARISON, ("up{}",), 0),
        ("0 == up", Meaning.COMPARISON, ("up{}",), 0),
        ('(x{a="b"} > -5)', Meaning.COMPARISON, ('x{a="b"}',), 0),
        ("rate(x[5m]) > 1", Meaning.FILTER, ("x{}",), 300),
        ("x > 1 and y < 2", Meaning.FILTER, ("x{}", "y{}"), 0),
        ("x offset 5m > 1", Meaning.FILTER, ("x{}",), 300),
        ("max_over_time(rate(x[1m])[30m:1m]) > 2", Meaning.FILTER, ("x{}",), 1860),
        ("absent(x)", Meaning.UNDECIDED, ("x{}",), 0),
        ("absent_over_time(x[5m])", Meaning.UNDECIDED, ("x{}",), 300),
        ("x > 1 unless y", Meaning.UNDECIDED, ("x{}", "y{}"), 0),
        ("x > 1 or y > 1", Meaning.UNDECIDED, ("x{}", "y{}"), 0),
        ("sum by (a) (x) > 1", Meaning.FILTER, ("x{}",), 0),
    ],
)
def test_what_an_expression_is_made_of(text: str, meaning: Meaning, selectors: tuple[str, ...], seconds: float) -> None:
    found = parse_expression(text)
    assert (found.meaning, found.selectors, found.range_seconds) == (meaning, selectors, seconds)


def test_a_selector_is_printed_from_its_parts() -> None:
    (selector,) = parse_expression('x{a="q\\"}) or vector(1)#", b=~"(c|d)"} == 1').selectors
    assert selector == 'x{a="q\\"}) or vector(1)#",b=~"(c|d)"}'
    assert parse_expression(selector).selectors == (selector,)


@pytest.mark.parametrize("text", ["", "up ==", "x smoothed == 0", "fill(x, 0)", "up{"])
def test_what_is_not_understood_is_not_guessed(text: str) -> None:
    with pytest.raises(Invalid):
        parse_expression(text)


def stamp(labels: dict[str, str], age: float = 1) -> Row:
    return Row(labels=labels, value=(NOW - timedelta(seconds=age)).timestamp())


def read(text: str, **answers: object) -> Verdict:
    newer = answers.pop("newer_than", NOW - timedelta(seconds=30))
    expression = parse_expression(text)
    given: dict[str, object] = {"at": NOW, "rows": (), "samples": {}, **answers}
    found = Answers.model_validate(given)
    return judge(expression, found, LABELS, newer_than=newer, fresh_seconds=60).verdict  # type: ignore[arg-type]


GOOD = {"samples": {"x{}": (stamp(MINE),)}, "values": (Row(labels=MINE, value=1),)}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.RESOLVED),
        ({"rows": (Row(labels=MINE, value=0),)}, Verdict.STILL_FIRING),
        ({"rows": (Row(labels=OTHER, value=0),)}, Verdict.RESOLVED),
        ({"samples": {}}, Verdict.NO_DATA),
        ({"samples": {"x{}": ()}}, Verdict.NO_DATA),
        ({"samples": {"x{}": (stamp(OTHER),)}}, Verdict.NO_DATA),
        ({"samples": {"x{}": (stamp(MINE, 31),)}}, Verdict.NO_DATA),  # older than the run
        ({"samples": {"x{}": (stamp(MINE, 61),)}, "newer_than": None}, Verdict.NO_DATA),  # too old
        ({"values": ()}, Verdict.NO_DATA),
        ({"values": (Row(labels=MINE, value=0),)}, Verdict.NO_DATA),  # inside the condition
        ({"values": (Row(labels=OTHER, value=1),)}, Verdict.NO_DATA),
        ({"fired_at": NOW - timedelta(seconds=2)}, Verdict.STILL_FIRING),  # within the hold
    ],
)
def test_a_comparison_is_proved_by_its_own_series(change: dict[str, object], verdict: Verdict) -> None:
    assert read("x == 0", **{**GOOD, **change}) is verdict


def test_an_aggregated_alert_is_proved_by_every_selector() -> None:
    more = {"instance": "web1", "job": "node", "cpu": "0"}
    both = {"x{}": (stamp(more),), "y{}": (stamp(more),)}
    assert read("rate(x[1m]) > 1 and y > 2", samples=both) is Verdict.RESOLVED
    assert read("rate(x[1m]) > 1 and y > 2", samples={"x{}": (stamp(more),)}) is Verdict.NO_DATA
    old = {**both, "y{}": (stamp(more, 45),)}
    assert read("rate(x[1m]) > 1 and y > 2", samples=old) is Verdict.NO_DATA


@pytest.mark.parametrize("text", ["absent(x)", "x > 1 unless y", "x > 1 or y > 1"])
def test_an_empty_answer_that_can_mean_either_is_no_data(text: str) -> None:
    samples = {"x{}": (stamp(MINE),), "y{}": (stamp(MINE),)}
    assert read(text, samples=samples) is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("expect", "value", "holds"),
    [("< 60", 59, True), ("< 60", 60, False), ("== 1", 1, True), ("!= 1", 1, False), (">= -1.5", -1.5, True)],
)
def test_compare(expect: str, value: float, holds: bool) -> None:
    assert compare(expect, value) is holds
