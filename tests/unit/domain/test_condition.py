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
    ],
)
def test_holds(text: str, value: str | float, holds: bool) -> None:
    assert Condition.parse(text).holds([fact("s", value)]) is holds


@pytest.mark.parametrize("text", ["", "s", "s ==", "s missing x", "s > many", "S == a", "s ~ a", "s == a\nb"])
def test_what_is_no_condition_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(Invalid):
        Condition.parse(text)
