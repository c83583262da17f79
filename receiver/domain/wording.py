"""What the words of a fact say: clause by clause, with an eye for "no", "not" and "none".

Decides by RE2 alone, without case: facts carry outside text, and a backtracking engine could be held by it.
`says` wants the pattern in a clause that does not deny it, `mostly` in the clause with the largest size.
"""

from __future__ import annotations

import functools
from typing import Any

import re2

from receiver.domain.quantity import first_bytes
from receiver.errors import Invalid

MAX_TEXT = 4096
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.case_sensitive = False


@functools.lru_cache(maxsize=8192)
def pattern(text: str) -> Any:
    """A compiled RE2 pattern that ignores case; raises `Invalid` quoting it."""
    if len(text) > MAX_TEXT:
        raise Invalid(f"a pattern of {len(text)} characters, more than {MAX_TEXT}")
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        raise Invalid(f"{text!r} is no pattern that RE2 reads") from error


_BREAK = pattern(r"[;()\n|]+|, |\. | - | — | but | while | although | whereas ")
_DENIES = r"no|not|never|none|nobody|nothing|without|neither|nor|cannot|isn't|wasn't|aren't|didn't|doesn't|hasn't"
_BEFORE = pattern(rf"(?:\b(?:{_DENIES})\b(?:\s+\S+){{0,3}}|(?:^|\s)(?:0|zero|free of|instead of)(?:\s+\w+)?)\s+$")
_AFTER = pattern(
    r"^\w*\s*[:=]?\s*(?:is|was|are|were)?\s*(?:none\b|false\b|absent\b|nothing\b|ruled out|unlikely|0(?:\s|$)|no$"
    r"|not (?:active|open|planned|present|reported|found|set|known|expected)\b)"
)
_INSIDE = pattern(rf"\b(?:{_DENIES})\b")
#: ways to deny that are no words of denial
_COUNTED = pattern(r"\b(?:0|zero|false|absent|free of|instead of|ruled out|unlikely)\b")
_MAINLY = pattern(r"\b(?:most|mostly|largest|biggest|mainly|fills?|takes?|uses?|full of|consumes?|all of)\b")
_NO_CONSUMER = pattern(r"\b(?:free|total|capacity|left|available|avail|remaining|limit|ram|memory)\b")


@functools.lru_cache(maxsize=1024)
def clauses(text: str) -> tuple[str, ...]:
    """The text in pieces that each say one thing."""
    return tuple(piece.strip() for piece in _BREAK.split(text[:MAX_TEXT]) if piece and piece.strip())


def says(text: str, wanted: str) -> bool:
    """Whether a clause has the pattern and does not deny it."""
    return any(_affirms(clause, pattern(wanted)) for clause in clauses(text))


def has(text: str, wanted: str) -> bool:
    """Whether the pattern is anywhere in the text."""
    return pattern(wanted).search(text[:MAX_TEXT]) is not None


def largest(texts: list[str]) -> tuple[int, str] | None:
    """Which text names the largest thing that takes space, and the clause; None when none names a size."""
    best: tuple[float, int, str] | None = None
    for position, text in enumerate(texts):
        for clause in clauses(text):
            size = None if _NO_CONSUMER.search(clause) else first_bytes(clause)
            if size is not None and (best is None or size > best[0]):
                best = (size, position, clause)
    return best and (best[1], best[2])


def mainly(text: str, wanted: str) -> bool:
    """Whether, where no size is known, a clause says that it is this which takes the space."""
    own = clauses(text)
    return any(_affirms(one, pattern(wanted)) and (len(own) == 1 or _MAINLY.search(one)) for one in own)


def capture(text: str, wanted: str) -> str | None:
    """What the first group that took part in the first match of the pattern holds."""
    match = pattern(wanted).search(text[:MAX_TEXT])
    return next((group for group in match.groups() if group), None) if match else None


def _affirms(clause: str, wanted: Any) -> bool:
    """Whether one of the pattern's ways to say it is there and not denied before, within or after."""
    if wanted.search(clause) is None:
        return False
    if not _INSIDE.search(clause) and not _COUNTED.search(clause):
        return True
    return any(_stands(clause, one) for one in _ways(wanted.pattern))


def _stands(clause: str, way: Any) -> bool:
    for match in way.finditer(clause):
        inside = _INSIDE.search(match.group()) and not _INSIDE.search(way.pattern)
        if not (inside or _BEFORE.search(clause[: match.start()]) or _AFTER.search(clause[match.end() :])):
            return True
    return False


@functools.lru_cache(maxsize=8192)
def _ways(text: str) -> tuple[Any, ...]:
    """The alternatives of a pattern that stand in no bracket, each by itself."""
    ways, depth, start, escaped, in_class = [], 0, 0, False, False
    for position, character in enumerate(text):
        if escaped or character == "\\":
            escaped = not escaped
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            ways.append(text[start:position])
            start = position + 1
    return tuple(pattern(way) for way in (*ways, text[start:]) if way)
