"""Which fact fills a parameter, as a rule of the catalog says it: `host`, `other node with \\d+ GiB free`.

Decides on exactly one trusted fact, or none. Of several the one that the alert is about is taken, then the one
that a label of the alert names; a label chooses among trusted facts and is never a value itself.

    [only | other] <fact kind> [with <pattern> | unless <pattern>]

`only`: several facts are too many, whatever the labels say. `other`: not what the alert is about.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from receiver.domain import wording
from receiver.domain.condition import text_of
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.record import Record
from receiver.errors import Invalid

_TEXT = re.compile(r"\s*(?:(only|other)\s+)?([a-z][a-z0-9_.]*)(?:\s+(with|unless)\s+(.+?))?\s*", re.ASCII)
#: a port at the end of a label such as `instance`
_PORT = re.compile(r":\d{1,5}\Z", re.ASCII)
#: kinds whose values may have a space
_SPACED = frozenset({"path"})


class Pick(Record):
    """One parsed rule."""

    kind: str
    among: Literal["", "only", "other"] = ""
    test: Literal["", "with", "unless"] = ""
    pattern: str = ""

    @classmethod
    def parse(cls, text: str) -> Pick:
        """Read one rule; raises `Invalid` quoting the text."""
        return _parse(text)

    def choose(self, facts: Sequence[Fact], entity: Entity | None, labels: Mapping[str, str]) -> Fact | str:
        """The fact, or why there is not exactly one."""
        mine = [fact for fact in facts if fact.kind == self.kind and fact.trusted and self._passes(fact)]
        named = [fact for fact in mine if " " not in str(fact.value) or self.kind.split(".")[-1] in _SPACED]
        values = {str(fact.value): fact for fact in reversed(named)}
        own = {entity.name, entity.host} if entity else set()
        said = own | {bare(value) for value in labels.values()} | set(labels.values())
        if self.among == "other":
            values = {value: fact for value, fact in values.items() if value not in said}
        elif self.among == "" and len(values) > 1:
            values = _narrowed(values, own) or _narrowed(values, said) or values
        if len(values) == 1:
            return next(iter(values.values()))
        return f"{len(values)} different facts" if values else "no trusted fact"

    def _passes(self, fact: Fact) -> bool:
        return not self.test or wording.says(text_of(fact), self.pattern) == (self.test == "with")


def bare(label: str) -> str:
    """A label's value without the port that `instance` ends with."""
    return _PORT.sub("", label)


def _narrowed(values: dict[str, Fact], to: set[str]) -> dict[str, Fact]:
    return {value: fact for value, fact in values.items() if value in to}


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Pick:
    match = _TEXT.fullmatch(text)
    if not match:
        raise Invalid(
            f"{text!r} does not say which fact", next_step="write `[only|other] <fact kind> [with|unless <pattern>]`"
        )
    if match[4]:
        wording.pattern(match[4])
    return Pick.model_validate(
        {"among": match[1] or "", "kind": match[2], "test": match[3] or "", "pattern": match[4] or ""}
    )
