"""Text from hosts, made harmless to look at: no escapes, control, bidi, format or tag characters (rule S22)."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import Any

#: ANSI and OSC sequences go as a whole, so that no half of one is left standing
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.?",
    re.DOTALL,
)
_KEPT = "\n\t"
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn")
MAX_TEXT = 4096
MAX_DIFF = 16384


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Printable text of at most `limit` characters; what was cut is said."""
    bare = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    seen = "".join(c for c in bare if c in _KEPT or unicodedata.category(c) not in _UNSEEN)
    return seen if len(seen) <= limit else f"{seen[:limit]}\n[{len(seen) - limit} more characters]"


def diff_text(diff: Any) -> str:
    """Ansible's `diff` of one result as a unified diff."""
    parts = diff if isinstance(diff, list) else [diff]
    return clean("\n".join(filter(None, (_one(part) for part in parts))), MAX_DIFF)


def _one(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    if isinstance(part.get("prepared"), str):
        return str(part["prepared"])
    before, after = _lines(part.get("before")), _lines(part.get("after"))
    old, new = str(part.get("before_header", "before")), str(part.get("after_header", "after"))
    return "".join(difflib.unified_diff(before, after, old, new))


def _lines(side: Any) -> list[str]:
    if isinstance(side, dict):
        side = "".join(f"{key}: {value}\n" for key, value in sorted(side.items()))
    text = "" if side is None else str(side)
    return text.splitlines(keepends=True)
