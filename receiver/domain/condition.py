"""Conditions of catalog rules over facts: `container.state in exited,unhealthy`, `host.load > 4`.

Decides by facts alone. A comparison with a fact that is not there does not hold; two facts of one kind hold
when any of them does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from receiver.domain.fact import Fact
from receiver.domain.record import Record
from receiver.errors import Invalid

_TEXT = re.compile(r"\s*([a-z][a-z0-9_.]*)\s+(in|==|!=|<|>|missing)(?:\s+(.+?))?\s*", re.ASCII)
_NUMBERS = {"<": operator.lt, ">": operator.gt}


class Condition(Record):
    """One parsed condition."""

    kind: str
    operator: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one condition; raises `Invalid` quoting the text."""
        match = _TEXT.fullmatch(text)
        if not match or (match[2] == "missing") == bool(match[3]):
            raise Invalid(
                f"{text!r} is not a condition",
                next_step="write `<fact kind> in a,b | == v | != v | < n | > n | missing`",
            )
        condition = cls(kind=match[1], operator=match[2], value=match[3] or "")
        if condition.operator in _NUMBERS:
            try:
                float(condition.value)
            except ValueError as error:
                raise Invalid(f"{text!r} compares with {condition.value!r}, which is no number") from error
        return condition

    def holds(self, facts: Sequence[Fact]) -> bool:
        """Whether it holds for these facts."""
        values = [fact.value for fact in facts if fact.kind == self.kind]
        if self.operator == "missing":
            return not values
        return any(self._holds_for(value) for value in values)

    def _holds_for(self, value: object) -> bool:
        if self.operator in _NUMBERS:
            return isinstance(value, int | float) and _NUMBERS[self.operator](value, float(self.value))
        if self.operator == "in":
            return str(value) in [part.strip() for part in self.value.split(",")]
        return (str(value) == self.value) == (self.operator == "==")
