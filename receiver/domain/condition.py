"""Conditions of catalog rules over facts: `container.state in exited,unhealthy`, `disk.used > 90%`, `any says oom`.

Decides by facts alone. A comparison with a fact that is not there does not hold; two facts of one kind hold when
any of them does. `any` is every trusted fact but what the alert says of itself
and what could not be read.

    <kind> in a,b | == v | != v           the value as text
    <kind> < n | <= n | > n | >= n        a number; with a unit (`4GiB`, `90%`, `7d`) also a text that begins with one
    <kind>[<pattern>] > n                 the number that the pattern's group finds in the text
    <kind> contains words | ~ <pattern>   anywhere in value and note, without case
    <kind> says <pattern>                 the same, in a clause that does not deny it ("no outage")
    <kind> mostly <pattern>               in the clause that names the largest size
    <kind> present | missing
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Sequence

from receiver.domain import wording
from receiver.domain.fact import Fact
from receiver.domain.quantity import quantity_of, read_quantity
from receiver.domain.record import Record
from receiver.errors import Invalid

ANY = "any"
#: kinds that repeat what the alert says of itself, or say what could not be read
_NOT_SEEN = ("alert.", "unread")
_TEXT = re.compile(
    r"\s*([a-z][a-z0-9_.]*)(?:\[(.+)\])?\s+(in|==|!=|<=|>=|<|>|contains|~|says|mostly|present|missing)(?:\s+(.+?))?\s*",
    re.ASCII,
)
_NUMBERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_BARE = ("present", "missing")
#: operators whose value is a pattern
PATTERNS = ("~", "says", "mostly")


class Condition(Record):
    """One parsed condition."""

    kind: str
    operator: str
    value: str = ""
    take: str = ""  #: pattern that finds the number in a text

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one condition; raises `Invalid` quoting the text."""
        return _parse(text)

    def holds(self, facts: Sequence[Fact]) -> bool:
        """Whether it holds for these facts."""
        return self.found(facts) is not None

    def found(self, facts: Sequence[Fact]) -> tuple[Fact, ...] | None:
        """The facts by which it holds (none, when it holds because nothing is there); None when it does not hold."""
        mine = [fact for fact in facts if self._is_about(fact)]
        if self.operator == "missing":
            return None if mine else ()
        if self.operator == "mostly":
            return self._mostly(mine)
        return tuple(fact for fact in mine if self._holds_for(fact)) or None

    def _is_about(self, fact: Fact) -> bool:
        if self.kind == ANY:
            return fact.trusted and not fact.kind.startswith(_NOT_SEEN)
        return fact.kind == self.kind

    def _mostly(self, facts: Sequence[Fact]) -> tuple[Fact, ...] | None:
        largest = wording.largest([text_of(fact) for fact in facts])
        if largest is not None:
            fact = facts[largest[0]]
            return (fact,) if wording.has(f"{_words(fact.kind)}: {largest[1]}", self.value) else None
        return tuple(fact for fact in facts if wording.mainly(text_of(fact), self.value)) or None

    def _holds_for(self, fact: Fact) -> bool:
        if self.operator == "present":
            return True
        if self.operator in _NUMBERS:
            return self._compares(fact)
        if self.operator == "in":
            return str(fact.value) in [part.strip() for part in self.value.split(",")]
        if self.operator == "contains":
            return self.value.casefold() in text_of(fact).casefold()
        if self.operator == "~":
            return wording.has(text_of(fact), self.value)
        if self.operator == "says":
            return wording.says(text_of(fact), self.value)
        return (str(fact.value) == self.value) == (self.operator == "==")

    def _compares(self, fact: Fact) -> bool:
        wanted = read_quantity(self.value)
        if self.take:
            taken = wording.capture(text_of(fact), self.take)
            known = read_quantity(taken) if taken else None
        elif wanted and not wanted.dimension:
            # a bare number compares with any number, whatever its unit
            return isinstance(fact.value, int | float) and bool(_NUMBERS[self.operator](fact.value, wanted.amount))
        else:
            known = quantity_of(fact.value, fact.unit)
        if known is None or wanted is None or known.dimension != wanted.dimension:
            return False
        return bool(_NUMBERS[self.operator](known.amount, wanted.amount))


def text_of(fact: Fact) -> str:
    """A fact in words: its kind, value, unit and note."""
    note = f"; {fact.note}" if fact.note else ""
    return f"{_words(fact.kind)}: {fact.value}{' ' if fact.unit else ''}{fact.unit}{note}"


def _words(kind: str) -> str:
    return kind.replace("_", " ")


@functools.lru_cache(maxsize=8192)
def _parse(text: str) -> Condition:
    match = _TEXT.fullmatch(text)
    if not match or (match[3] in _BARE) == bool(match[4]) or (match[2] and match[3] not in _NUMBERS):
        raise Invalid(
            f"{text!r} is not a condition",
            next_step="write `<fact kind> in a,b | == v | < n | says <pattern> | missing`: docs/howto/rules.md",
        )
    condition = Condition(kind=match[1], operator=match[3], value=match[4] or "", take=match[2] or "")
    if condition.operator in _NUMBERS and read_quantity(condition.value) is None:
        raise Invalid(f"{text!r} compares with {condition.value!r}, which is no number")
    if condition.operator in PATTERNS:
        wording.pattern(condition.value)
    if condition.take and wording.pattern(condition.take).groups < 1:
        raise Invalid(f"{text!r} takes a number by {condition.take!r}, which has no group")
    return condition
