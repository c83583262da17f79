"""Alertmanager matcher lists, evaluated without backtracking.

A list is read as the selector `m{<text>}`, which must come out as exactly that: no offset, no `@`, no `or`,
quoted values only. Regular expressions are anchored RE2; Python's own engine can be held for seconds by 27
bytes of a label. Format: https://prometheus.io/docs/alerting/latest/configuration/#matcher
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import promql_parser
import re2

from receiver.errors import Invalid

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_NEXT = 'write matchers as in Alertmanager, with quoted values: alertname=~"A|B", severity!="info"'


class Matchers:
    """One parsed list; all of its matchers must hold."""

    def __init__(self, text: str, matchers: tuple[tuple[str, str, str, Any], ...]) -> None:
        self.text = text
        self._matchers = matchers

    @classmethod
    def parse(cls, text: str) -> Matchers:
        """Read a list; raises `Invalid` quoting it."""
        return _parse(text)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all hold; a missing label is the empty string."""
        return all(_holds(op, value, pattern, labels.get(name, "")) for op, name, value, pattern in self._matchers)

    @property
    def count(self) -> int:
        """How many matchers: how specific the list is."""
        return len(self._matchers)


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Matchers:
    if len(text) > 4096:
        raise Invalid(f"a matcher list of {len(text)} characters, more than 4096", next_step=_NEXT)
    try:
        selector = promql_parser.parse(f"m{{{text}}}")
    except ValueError as error:
        raise Invalid(f"{text!r} is no matcher list: {error}", next_step=_NEXT) from error
    if not isinstance(selector, promql_parser.VectorSelector) or not _is_plain(selector):
        raise Invalid(f"{text!r} is more than a matcher list", next_step=_NEXT)
    found = []
    for matcher in selector.matchers.matchers:
        op = _OPERATORS[str(matcher.op)]
        found.append((op, matcher.name, matcher.value, _pattern(text, matcher.value) if "~" in op else None))
    return Matchers(text, tuple(found))


def _is_plain(selector: promql_parser.VectorSelector) -> bool:
    others = selector.offset is not None or selector.at is not None or selector.matchers.or_matchers
    return selector.name == "m" and not others


_OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}


def _pattern(text: str, pattern: str) -> Any:
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        raise Invalid(f"{text!r} has the pattern {pattern!r}, which RE2 does not read", next_step=_NEXT) from error


def _holds(op: str, value: str, pattern: Any, found: str) -> bool:
    if pattern is None:
        return (found == value) == (op == "=")
    return (pattern.fullmatch(found) is not None) == (op == "=~")
