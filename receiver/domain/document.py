"""YAML as people write it, read strictly: plain data, no tags, anchors, aliases, merges or double keys.

Refuses text that is not printable UTF-8 or larger than its place allows; every refusal names the place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

from receiver.errors import Invalid

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: format characters that reorder or hide text
_ALLOWED_CONTROLS = "\n\t"


class _Strict(_Loader):  # type: ignore[misc]
    """The safe loader without double keys, merges and keys that are no text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """No key twice, only text as key."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.YAMLError("merge keys are not read here")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"a key must be text: {key!r}")
            if key in seen:
                raise yaml.YAMLError(f"the key {key!r} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(content: bytes, *, where: str, limit: int = 1 << 20) -> Any:
    """The plain data of one document."""
    text = read_text(content, where=where, limit=limit)
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Strict)  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"not YAML that is read here: {' '.join(str(error).split())[:300]}", where=where) from error


def texts_of(value: Any) -> Iterator[str]:
    """Every text in it, at any depth; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_of(inner)


def _check_events(text: str) -> None:
    """No aliases, anchors or tags: each makes one text mean more than it shows."""
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read here")
        if getattr(event, "anchor", None):
            raise yaml.YAMLError("anchors are not read here")
        tag = getattr(event, "tag", None)
        if tag:
            raise yaml.YAMLError(f"tags are not read here: {tag}")


def read_mapping(content: bytes, *, where: str, limit: int = 1 << 20) -> dict[str, Any]:
    """The same, which must be a mapping."""
    found = read_yaml(content, where=where, limit=limit)
    if not isinstance(found, dict):
        raise Invalid(f"a mapping is expected, not {type(found).__name__}", where=where)
    return found


def read_text(content: bytes, *, where: str, limit: int) -> str:
    """Printable UTF-8 within the limit."""
    if len(content) > limit:
        raise Invalid(f"{len(content)} bytes, more than {limit}", where=where)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"not UTF-8: {error}", where=where) from error
    bad = next(
        (c for c in text if c not in _ALLOWED_CONTROLS and unicodedata.category(c) in ("Cc", "Cf", "Cs")),
        None,
    )
    if bad is not None:
        raise Invalid(f"the character U+{ord(bad):04X}, which cannot be seen", where=where)
    return text
