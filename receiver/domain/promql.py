"""What an alert's expression is made of: its selectors, how far back it looks, and what an empty answer means.

Reads with `promql_parser`; what that does not understand (`anchored`, `fill()`, …) is refused as `Invalid` and never
guessed. Selectors are printed again from their parsed parts: no label value of an alert ever enters a query.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import promql_parser as parser

from receiver.domain.record import Record
from receiver.errors import Invalid

_OPERATORS = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_MIRRORED = {"==": "==", "!=": "!=", ">": "<", "<": ">", ">=": "<=", "<=": ">="}
_MATCH = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


class Meaning(StrEnum):
    """What an empty answer can mean."""

    COMPARISON = "comparison"  #: a plain selector against a number: the same series shows the value outside
    FILTER = "filter"  #: empty is good while every selector still has series
    UNDECIDED = "undecided"  #: absent() or unless: empty can mean either


class Expression(Record):
    """One parsed expression."""

    text: str
    meaning: Meaning
    selectors: tuple[str, ...]  #: canonical, without offset and range
    range_seconds: float = 0
    operator: str = ""  #: of a comparison, selector on the left
    number: float = 0

    def holds(self, value: float) -> bool:
        """Whether a value of the comparison's series fulfils it."""
        return bool(_OPERATORS[self.operator](value, self.number))


@functools.lru_cache(maxsize=1024)
def parse_expression(text: str) -> Expression:
    """Read an expression; raises `Invalid` quoting it."""
    try:
        tree = parser.parse(text)
    except ValueError as error:
        raise Invalid(f"expression not understood: {text!r:.200}: {error}") from error
    nodes = list(_walk(tree))
    found = [node for node in nodes if isinstance(node, parser.VectorSelector)]
    selectors = tuple(dict.fromkeys(_canonical(node) for node in found))
    comparison = _comparison(tree)
    meaning = Meaning.COMPARISON if comparison else Meaning.FILTER
    if any(_is_undecided(node) for node in nodes):
        meaning = Meaning.UNDECIDED
    return Expression(
        text=text,
        meaning=meaning,
        selectors=selectors,
        range_seconds=max((_reach(node) for node in nodes), default=0.0),
        operator=comparison[0] if comparison else "",
        number=comparison[1] if comparison else 0,
    )


def compare(expect: str, value: float) -> bool:
    """Whether a value fulfils a catalog's `expect`, such as `< 60`."""
    sign, number = expect.split()
    return bool(_OPERATORS[sign](value, float(number)))


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, name, None)
        if isinstance(child, parser.Expr):
            yield from _walk(child)
    for child in getattr(node, "args", None) or ():
        if isinstance(child, parser.Expr):
            yield from _walk(child)


def _is_undecided(node: Any) -> bool:
    if isinstance(node, parser.Call):
        return str(node.func.name).startswith("absent")
    return isinstance(node, parser.BinaryExpr) and str(node.op) in ("unless", "or")


def _reach(node: Any) -> float:
    """How many seconds of the past this node looks at."""
    seconds = 0.0
    if isinstance(node, parser.MatrixSelector | parser.SubqueryExpr):
        seconds += node.range.total_seconds() if node.range else 0.0
    if isinstance(node, parser.SubqueryExpr | parser.VectorSelector) and node.offset is not None:
        seconds += abs(node.offset.total_seconds())
    if isinstance(node, parser.SubqueryExpr):
        seconds += max((_reach(inner) for inner in _walk(node.expr)), default=0.0)
    return seconds


def _comparison(tree: Any) -> tuple[str, float] | None:
    """`selector op number`, either way round, possibly in parentheses."""
    while isinstance(tree, parser.ParenExpr):
        tree = tree.expr
    if not isinstance(tree, parser.BinaryExpr) or str(tree.op) not in _OPERATORS:
        return None
    left, right, sign = tree.lhs, tree.rhs, str(tree.op)
    if _number(left) is not None:
        left, right, sign = right, left, _MIRRORED[sign]
    number = _number(right)
    plain = isinstance(left, parser.VectorSelector) and left.offset is None and left.at is None
    return (sign, number) if plain and number is not None else None


def _number(node: Any) -> float | None:
    if isinstance(node, parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, parser.UnaryExpr) and isinstance(node.expr, parser.NumberLiteral):
        return -float(node.expr.val)
    return None


def _canonical(node: Any) -> str:
    parts = [
        f"{matcher.name}{_MATCH[str(matcher.op)]}{json.dumps(matcher.value)}" for matcher in node.matchers.matchers
    ]
    if node.matchers.or_matchers:
        raise Invalid("expression not understood: a selector with `or`")
    return f"{node.name or ''}{{{','.join(parts)}}}"
