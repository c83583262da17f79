"""The reference pages and the JSON Schema, made from the code that they describe.

Decides that settings, commands and exit codes are described in one place each: where they are defined.
"""

from __future__ import annotations

import inspect
import json
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from receiver.cli.exits import MEANING
from receiver.cli.surfaces import api_page, metrics_page

_SETTINGS_HEAD = """# Settings

Made by `gitmedic config schema --docs`. The file is `gitmedic.toml` in the data directory (`--config` names
another); the command line wins over the environment, the environment over the file. Lists and tables in a
variable are JSON. Policy is not here: it is `policy.yml` in the ops repository.
"""
_COMMENT = re.compile(r"^\s*#: ?(.*)$")
_FIELD = re.compile(r"^    (\w+): .*?(?:  #: (.*))?$")


def json_schema() -> dict[str, Any]:
    """Of the file: without what only the command line says."""
    from receiver.config import Settings

    made = Settings.model_json_schema()
    for name in ("data_dir", "file"):
        made["properties"].pop(name)
    made["required"] = [name for name in made.get("required", ()) if name in made["properties"] and name != "repo"]
    return made | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gitmedic.toml"}


def pages(app: typer.Typer) -> dict[str, str]:
    """File name → text of each reference page."""
    return {
        "settings.md": settings_page(),
        "cli.md": cli_page(app),
        "exit-codes.md": exits_page(),
        "api.md": api_page(),
        "metrics.md": metrics_page(),
    }


def exits_page() -> str:
    """The table of exit codes."""
    rows = "\n".join(f"| {code.value} | {text} |" for code, text in MEANING.items())
    return f"# Exit codes\n\nMade by `gitmedic config schema --docs`.\n\n| code | meaning |\n|---|---|\n{rows}\n"


def settings_page() -> str:
    """Every setting with its default and the variable that overrides it."""
    from receiver.config import Settings

    rows = "\n".join(_rows(Settings, ""))
    return f"{_SETTINGS_HEAD}\n| setting | default | variable | meaning |\n|---|---|---|---|\n{rows}\n"


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    comments = _comments(model)
    rows: list[str] = []
    for name, one in model.model_fields.items():
        if not prefix and name in ("data_dir", "file"):
            continue
        inner, kind = _inner(one.annotation)
        key = f"{prefix}{name}"
        if inner is not None:
            rows += _rows(inner, key + {"table": ".", "list": "[].", "named": ".NAME."}[kind])
            continue
        variable = "GITMEDIC_" + key.upper().replace(".", "__")
        settable = "[]" not in key and key != "demo"
        meaning = (one.description or comments.get(name, "")).replace("|", "\\|")
        cells = (f"`{key}`", _default(key, one), f"`{variable}`" if settable else "", meaning)
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The record inside a table, a list of tables or named tables."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, "table"
    if origin is Annotated or origin in (Union, UnionType):
        found = [_inner(one) for one in arguments]
        return next((one for one in found if one[0] is not None), (None, ""))
    if origin in (tuple, list):
        return _inner(arguments[0])[0], "list"
    if origin is dict:
        return _inner(arguments[1])[0], "named"
    return None, ""


def _default(key: str, one: FieldInfo) -> str:
    if one.is_required():
        return "(required)" if key != "repo.path" else ""
    value = one.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple | set | frozenset):
        value = list(value)
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value, default=str)}`"


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """`#:` comments of a class, beside a field or above it, which the code uses instead of descriptions."""
    found: dict[str, str] = {}
    above: list[str] = []
    for row in inspect.getsource(model).splitlines():
        if comment := _COMMENT.match(row):
            above.append(comment[1])
        elif one := _FIELD.match(row):
            found[one[1]] = one[2] or " ".join(above)
            above = []
        else:
            above = []
    return found


def cli_page(app: typer.Typer) -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [
        "# Command line",
        "",
        "Made by `gitmedic config schema --docs`. See [exit codes](exit-codes.md).",
        "",
    ]
    shared = {one.name for one in root.params}
    parts += ["Every command takes these, before it or after it:", "", *_options(root, frozenset()), ""]
    for path, one in _commands(root, ()):
        usage = " ".join(["gitmedic", *path, *_arguments(one)])
        parts += [f"## `{usage}`", "", inspect.cleandoc(one.help or ""), ""]
        rows = _options(one, frozenset(shared))
        parts += [*rows, ""] if rows else []
    return "\n".join(parts).rstrip() + "\n"


def _commands(one: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    inner = getattr(one, "commands", None)
    if inner is None:
        return [(path, one)]
    return [found for name in sorted(inner) for found in _commands(inner[name], (*path, name))]


def _arguments(one: Any) -> list[str]:
    names = [(item, item.metavar or item.name.upper()) for item in one.params if item.param_type_name == "argument"]
    return [name if item.required else f"[{name}]" for item, name in names]


def _options(one: Any, without: frozenset[str]) -> list[str]:
    rows = []
    for item in one.params:
        if item.param_type_name == "option" and item.name not in without and not item.name.endswith("_completion"):
            names = ", ".join(f"`{name}`" for name in item.opts)
            rows.append(f"- {names}: {item.help}")
    return rows
