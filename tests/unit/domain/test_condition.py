"""Conditions over facts."""

from datetime import UTC, datetime

import pytest

from receiver.domain.condition import Condition
from receiver.domain.fact import Fact
from receiver.errors import Invalid


def fact(kind: str, value: str | float | bool) -> Fact:
    return Fact(id="f1", kind=kind, value=value, source="x", trusted=True, taken_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("s in a,b", "a", True),
        ("s in a, b", "b", True),
        ("s in a,b", "c", False),
        ("s == a", "a", True),
        ("s != a", "a", False),
        ("s != a", "b", True),
        ("s > 4", 5.0, True),
        ("s > 4", 4.0, False),
        ("s < 4", 3.0, True),
        ("s < 4", "3", False),
        ("s missing", "a", False),
        ("other missing", "a", True),
        ("other == a", "a", False),
        ("other != a", "a", False),
        ("s >= 4", 4.0, True),
        ("s <= 3", 4.0, False),
        ("s present", "a", True),
        ("other present", "a", False),
        ("s contains DISK full", "the disk Full of logs", True),
        ("s ~ fu.l", "disk full", True),
        ("s says disk (is )?full", "disk is full", True),
        ("s says disk (is )?full", "upstream fine, no disk full", False),
        ("s > 80%", "91% of 20 GiB", True),
        ("s > 80%", "91 GiB", False),
        ("s > 2GiB", "19 GiB free", True),
        ("s < 7d", "36 h old", True),
        ("s[oldest ([0-9.]+ ?d)] > 30d", "6 snapshots, oldest 210 d", True),
        ("s[oldest ([0-9.]+ ?d)] > 30d", "6 snapshots, youngest 210 d", False),
        ("s mostly cache", "apt cache 9 GiB, journal 1 GiB", True),
        ("s mostly journal", "apt cache 9 GiB, journal 1 GiB", False),
        ("s mostly journal", "20 GiB free, journal 1 GiB", True),
        ("s mostly journal", "the journal takes it all", True),
    ],
)
def test_holds(text: str, value: str | float, holds: bool) -> None:
    assert Condition.parse(text).holds([fact("s", value)]) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s ==",
        "s missing x",
        "s > many",
        "S == a",
        "s == a\nb",
        "s ~ (",
        "s present x",
        "s[a] > 3",
        "s[(a)] says b",
    ],
)
def test_what_is_no_condition_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(Invalid):
        Condition.parse(text)


def other(kind: str, value: str, *, trusted: bool = True, note: str = "") -> Fact:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Fact(id="f2", kind=kind, value=value, source="x", trusted=trusted, taken_at=at, note=note)


def test_any_is_what_was_observed_and_trusted() -> None:
    condition = Condition.parse("any says hung")
    assert condition.holds([other("state", "hung")])
    assert condition.holds([other("state", "running", note="hung since 3 h")])
    unobserved = [other("log", "hung", trusted=False), other("alert.label.name", "hung"), other("unread", "hung")]
    assert not condition.holds(unobserved)


def test_the_facts_by_which_it_holds_are_named() -> None:
    facts = [fact("s", "no trouble"), other("s", "trouble")]
    assert Condition.parse("s says trouble").found(facts) == (facts[1],)
    assert Condition.parse("x missing").found(facts) == ()
    assert Condition.parse("x says trouble").found(facts) is None


def test_a_pattern_that_holds_other_engines_ends_at_once() -> None:
    assert not Condition.parse("s ~ (a+)+$").holds([fact("s", "a" * 4000 + "!")])
