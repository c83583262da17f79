"""A model's text → a `Reply`, or the reasons why it is none.

Decides what is recovered: one JSON object out of code fences, out of thoughts and out of a sentence around it. Refuses
two of them, a key that is there twice, and everything that the schema does not name.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from receiver.domain.binding import Reply

MOST_CHARACTERS = 64_000
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[a-zA-Z]*\n(.*?)```", re.DOTALL)
_NO = re.compile(
    r"\b(?:i(?:'|’| a)?m sorry|i can(?:not|'t|’t)|i(?:'|’)m (?:not able|unable)|i am (?:not able|unable)|i won(?:'|’)t|"
    r"as an ai|unable to (?:help|assist|comply))\b",
    re.IGNORECASE,
)  # fmt: skip


class NoReply(Exception):
    """The text is no answer; `is_refusal` when it says no in words."""

    def __init__(self, reasons: tuple[str, ...], *, is_refusal: bool = False) -> None:
        super().__init__("; ".join(reasons))
        self.reasons, self.is_refusal = reasons, is_refusal


def read_reply(text: str) -> Reply:
    """The one object in this text; raises `NoReply`."""
    if len(text) > MOST_CHARACTERS:
        raise NoReply((f"the answer has more than {MOST_CHARACTERS} characters",))
    found = _object(text)
    if found is None:
        refuses = bool(_NO.search(text[:400]))
        raise NoReply(
            ("the answer is no JSON object",) if text.strip() else ("the answer is empty",), is_refusal=refuses
        )
    try:
        return Reply.model_validate(found)
    except ValidationError as error:
        raise NoReply(tuple(_reason(one) for one in error.errors(include_input=False)[:8])) from None


def _object(text: str) -> dict[str, Any] | None:
    bare = _THOUGHTS.sub("", text)
    fenced = _FENCE.search(bare)
    for candidate in ([fenced[1]] if fenced else []) + [bare]:
        start = candidate.find("{")
        if start < 0:
            continue
        decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
        try:
            found, end = decoder.raw_decode(candidate, start)
        except (ValueError, RecursionError):
            continue
        if "{" in candidate[end:]:
            raise NoReply(("the answer has more than one JSON object",))
        return dict(found)
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NoReply(("a key is in the answer twice",))
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _reason(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"])[:60] or "the answer"
    return f"{field}: {error['msg']}"[:160]
