"""A playbook's parameters as a form: fields from its JSON Schema, values back with a message at each field.

Decides nothing that the schema does not say: a field is a choice, a host, a number, a yes or no, a list, or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import jsonschema

from receiver.domain.inventory import Inventory
from receiver.domain.playbook import Playbook, check_params
from receiver.domain.record import Record
from receiver.errors import Invalid

_HINTS = {"host": "a host of the inventory", "path": "an absolute path", "socket": "a socket's absolute path"}


class Field(Record):
    """One input."""

    name: str
    kind: Literal["choice", "number", "check", "list", "text"]
    value: str = ""
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()  #: values that are known to exist; others may be typed
    is_required: bool = False
    least: int | None = None
    most: int | None = None
    hint: str = ""
    wrong: str = ""


def fields(playbook: Playbook, inventory: Inventory, given: Mapping[str, str], wrong: Mapping[str, str]) -> list[Field]:
    """The inputs, filled with what was given before and with what was wrong about it."""
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    required = playbook.params.get("required", ())
    made = []
    for name, schema in properties.items():
        kind, choices = _kind(schema, inventory)
        default = _text(schema.get("default", ""))
        if kind == "choice" and len(choices) == 1:
            default = default or choices[0]
        made.append(
            Field(
                name=name, kind=kind, choices=choices, value=given.get(name, default), is_required=name in required,
                suggestions=_known(playbook, name, inventory), least=schema.get("minimum"), most=schema.get("maximum"),
                hint=schema.get("description", _HINTS.get(schema.get("x-kind", ""), "")), wrong=wrong.get(name, ""),
            )
        )  # fmt: skip
    return made


def read(playbook: Playbook, inventory: Inventory, given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """(parameters, field → what is wrong with it); only fields of the schema are read."""
    properties: dict[str, dict[str, Any]] = playbook.params.get("properties", {})
    params: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, schema in properties.items():
        text = given.get(name, "").strip()
        if not text and schema.get("type") != "boolean":
            continue
        try:
            params[name] = _value(schema, text)
        except ValueError:
            wrong[name] = "a whole number is expected"
    for error in jsonschema.Draft202012Validator(playbook.params).iter_errors(params):
        for name, said in _said(error):
            wrong.setdefault(name, said)
    for name, kind in playbook.kinds.items():
        if kind == "host" and name in params and params[name] not in inventory.hosts:
            wrong.setdefault(name, f"{params[name]!r:.60} is no host of the inventory")
    if not wrong:
        try:
            check_params(playbook, params)
        except Invalid as error:
            field, _, said = str(error.message).partition(": ")[2].partition(": ")
            wrong[field if field in properties else next(iter(properties))] = said or error.message
    return params, wrong


def _kind(schema: Mapping[str, Any], inventory: Inventory) -> tuple[Any, tuple[str, ...]]:
    if schema.get("x-kind") == "host":
        return "choice", tuple(sorted(inventory.hosts))
    if "enum" in schema:
        return "choice", tuple(_text(one) for one in schema["enum"])
    return {"boolean": "check", "integer": "number", "array": "list"}.get(schema.get("type", ""), "text"), ()


def _known(playbook: Playbook, name: str, inventory: Inventory) -> tuple[str, ...]:
    """What the inventory itself states for the kinds of fact that rules bind this parameter to."""
    kinds = {handle.bind[name] for handle in playbook.handles if name in handle.bind}
    found: set[str] = set()
    for host in inventory.hosts.values():
        facts = host.variables.get("gitmedic_facts", {})
        for kind in kinds & set(facts if isinstance(facts, dict) else ()):
            values = facts[kind] if isinstance(facts[kind], list) else [facts[kind]]
            found.update(one for one in values if isinstance(one, str))
    return tuple(sorted(found))


def _value(schema: Mapping[str, Any], text: str) -> Any:
    if schema.get("type") == "boolean":
        return text in ("on", "true", "yes")
    if schema.get("type") == "integer":
        return int(text)
    if schema.get("type") == "array":
        return [line.strip() for line in text.splitlines() if line.strip()]
    matching = [one for one in schema.get("enum", ()) if _text(one) == text]
    return matching[0] if matching else text


def _said(error: jsonschema.ValidationError) -> Iterable[tuple[str, str]]:
    if error.validator == "required":
        given: Any = error.instance
        needed: Any = error.validator_value
        return [(name, "this is needed") for name in needed if name not in given]
    return [(str(error.path[0]) if error.path else "", error.message[:200])]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
