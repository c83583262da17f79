"""One table of gitmedic.toml as text, such as `[forge]`: all else in the file, comments too, stays byte for byte.

Decides where a line goes by the lines themselves, and believes the result only when a TOML reader finds exactly the
wanted table in it and every other table as it was. Refuses a file that writes the table in another way, with the lines
to write by hand.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from receiver.errors import Refused

_ANY_HEADER = re.compile(r"^\s*\[")
_KEY = re.compile(r"^\s*([A-Za-z0-9_]+)\s*=")

Value = str | float | tuple[str, ...]
FORGE = ("forge",)


def with_table(text: str, values: Mapping[str, Value], table: tuple[str, ...] = FORGE) -> str:
    """The file with these settings in its table; keys that are not named here stay as they are."""
    lines, wanted = text.splitlines(), {key: f"{key} = {_written(value)}" for key, value in values.items()}
    place = _table(lines, table)
    if place is None:
        head = [*lines, ""] if lines and lines[-1].strip() else lines
        made = [*head, f"[{'.'.join(table)}]", *wanted.values()]
    else:
        first, last = place
        left, kept = dict(wanted), []
        for line in lines[first:last]:
            key = _KEY.match(line)
            name = key[1] if key else ""
            kept.append(left.pop(name) if name in left else line)
        made = [*lines[:first], *kept, *left.values(), *lines[last:]]
    expected = tables(text)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    _inner(expected, table).update(plain)
    return _checked("\n".join(made) + "\n", expected, table, list(wanted.values()))


def without_table(text: str, table: tuple[str, ...] = FORGE) -> str:
    """The file without its table, and without those inside it; comments behind a table's last line stay."""
    lines, before = text.splitlines(), tables(text)
    inner = [(*table, name) for name, value in _inner(before, table).items() if isinstance(value, dict)]
    for one in (*inner, table):
        place = _table(lines, one)
        if place is not None:
            lines = [*lines[: place[0] - 1], *lines[place[1] :]]
            while lines and not lines[-1].strip():
                lines.pop()
    expected = tables(text)
    _inner(expected, table[:-1]).pop(table[-1], None)
    if table[:-1] and not _inner(expected, table[:-1]):
        expected.pop(table[0])
    made = "\n".join(lines) + "\n" if lines else ""
    return _checked(text if tables(text) == expected else made, expected, table, [])


def write(file: Path, text: str) -> None:
    """Whole or not at all, with the mode and the owner that the file had."""
    file = file.resolve()
    try:
        found = file.stat() if file.exists() else file.parent.stat()
        keep(file, text.encode(), mode=found.st_mode & 0o777 if file.exists() else 0o600, owner=found)
    except OSError as error:
        raise _by_hand(file, str(error)) from None


def keep(file: Path, content: bytes, *, mode: int, owner: os.stat_result) -> None:
    """A new file in the place of the old one; root writes it for whoever owns what it belongs to."""
    fresh = file.with_name(f".{file.name}.{uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if os.geteuid() == 0:
            os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.chmod(mode)
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def check_writable(file: Path) -> None:
    """`Refused` where the file could not be replaced later."""
    folder = file.resolve().parent
    if not os.access(folder, os.W_OK):
        raise _by_hand(file, f"no right to write in {folder}")


def _by_hand(file: Path, why: str) -> Refused:
    return Refused(
        f"writing settings to {str(file)!r}: {why}",
        next_step="run this as the user who may write it, or name another file with --config",
        reason="config",
    )


def _table(lines: list[str], table: tuple[str, ...]) -> tuple[int, int] | None:
    """(first line of its content, the line behind its last key)."""
    name = r"\s*\.\s*".join(re.escape(part) for part in table)
    wanted = re.compile(rf"^\s*\[\s*{name}\s*\]\s*(#.*)?$")
    header = next((number for number, line in enumerate(lines) if wanted.match(line)), None)
    if header is None:
        return None
    end = header + 1
    for number in range(header + 1, len(lines)):
        if _ANY_HEADER.match(lines[number]):
            break
        if _KEY.match(lines[number]):
            end = number + 1
    return header + 1, end


def _inner(tables: dict[str, Any], table: tuple[str, ...]) -> dict[str, Any]:
    """The table of this name; one that is not there is made."""
    for name in table:
        found = tables.setdefault(name, {})
        tables = found if isinstance(found, dict) else {}
    return tables


def tables(text: str) -> dict[str, Any]:
    """As a TOML reader has it."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(
            f"reading the settings file: {error}", next_step="gitmedic config check", reason="config"
        ) from None


def _checked(after: str, expected: Mapping[str, Any], table: tuple[str, ...], lines: list[str]) -> str:
    try:
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != expected:
        name = ".".join(table)
        step = (
            f"write the table by hand: [{name}] {' · '.join(lines)}" if lines else f"take the table {name} out by hand"
        )
        raise Refused(
            "writing the settings file: its settings of the forge stand there in a way that is not edited",
            next_step=step,
            reason="config",
        )
    return after


def _written(value: Value) -> str:
    """A TOML basic string is a JSON string, where neither holds what TOML has no escape for."""
    if isinstance(value, tuple):
        return f"[{', '.join(_written(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:g}"
