"""Prompts as Jinja templates that can only say words: checked when a revision is read, rendered in a sandbox.

Decides what a prompt file may do: print what it is given, ask and repeat. Refuses, naming file and line, whatever calls
out, loads, computes without bound, or prints a name that it is not given (promise P5, rule S4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.errors import Invalid

MOST_CHARACTERS = 200_000
_FILTERS = ("join", "length", "lower", "sort", "tojson", "trim", "upper")
_DEEPEST_LOOP = 2
#: whatever runs, loads or grows; `%` formats, and a format has a width
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Call: "calls something",
    nodes.Include: "loads another file",
    nodes.Import: "loads another file",
    nodes.FromImport: "loads another file",
    nodes.Extends: "loads another file",
    nodes.Macro: "defines a macro",
    nodes.CallBlock: "calls something",
    nodes.FilterBlock: "filters a block",
    nodes.Mul: "multiplies",
    nodes.Pow: "multiplies",
    nodes.Mod: "formats",
    nodes.Assign: "sets a name",
    nodes.AssignBlock: "sets a name",
}


class _Sandbox(ImmutableSandboxedEnvironment):
    """Nothing but the listed filters: no functions, no loader."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.globals = {}
        self.tests = {name: self.tests[name] for name in ("defined", "none", "string", "number")}


def check_template(name: str, text: str, example: Mapping[str, Any]) -> None:
    """Whether it renders with what it will be given; raises `Invalid` with the line, or with the missing name."""
    where = f"prompts/{name}"
    try:
        _refuse(_Sandbox().parse(text), where)
    except TemplateSyntaxError as error:
        raise Invalid(f"line {error.lineno}: {error.message}", where=where, next_step=_NEXT) from error
    render(name, text, example)


def render(name: str, text: str, values: Mapping[str, Any]) -> str:
    """The text with its values; raises `Invalid` when it does not render, or grows without end."""
    found: list[str] = []
    size = 0
    try:
        for piece in _compiled(text).generate(**values):
            size += len(piece)
            if size > MOST_CHARACTERS:
                raise Invalid(
                    f"it has more than {MOST_CHARACTERS} characters", where=f"prompts/{name}", next_step=_NEXT
                )
            found.append(piece)
    except (TemplateError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"it does not render: {error}"[:300], where=f"prompts/{name}", next_step=_NEXT) from error
    return "".join(found)


def version_of(text: str) -> str:
    """The first 12 hex digits of its digest."""
    return sha256(text.encode()).hexdigest()[:12]


_NEXT = "correct the file; gitmedic's own stands in prompts/ of its repository"


@lru_cache(maxsize=32)
def _compiled(text: str) -> Template:
    return _Sandbox().from_string(text)


def _refuse(tree: nodes.Template, where: str) -> None:
    for node in tree.find_all(tuple(_REFUSED)):
        why = _REFUSED[type(node)]
        raise Invalid(f"line {node.lineno}: a prompt that {why} is refused", where=where, next_step=_NEXT)
    for attribute in tree.find_all((nodes.Getattr, nodes.Getitem)):
        name = getattr(attribute, "attr", None) or getattr(getattr(attribute, "arg", None), "value", "")
        if str(name).startswith("_"):
            raise Invalid(f"line {attribute.lineno}: {name!r} is refused in a prompt", where=where, next_step=_NEXT)
    deep = _depth(tree)
    if deep > _DEEPEST_LOOP:
        raise Invalid(f"loops stand {deep} deep in each other, at most {_DEEPEST_LOOP}", where=where, next_step=_NEXT)


def _depth(node: nodes.Node) -> int:
    inner: Iterable[nodes.Node] = node.iter_child_nodes()
    return isinstance(node, nodes.For) + max((_depth(child) for child in inner), default=0)
