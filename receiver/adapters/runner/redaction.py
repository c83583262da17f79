"""Secret values taken out of what a run says, before anything of it is kept.

Decides in which disguises a known secret is looked for: as it is, by lines, in base64 at any offset, in an address, in
JSON, and cut off wherever a text says that it was shortened. Values of under four characters are left: they are
everywhere.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from receiver.adapters.runner.clean import clean
from receiver.domain.run import RunEvent, RunResult

WORD = "(secret)"
LEAST = 4
#: a single line of a longer secret tells something from this length on
_LEAST_LINE = 16
_CUT = re.compile(r"(\n\[\d+ more characters\])")


class Redactor:
    """Knows the secrets of one run."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        found = {form for secret in secrets for form in _forms(secret) if len(form) >= LEAST}
        # the longest first, so that no half of one is left standing
        self._forms = sorted(found, key=lambda form: (-len(form), form))

    def text(self, text: str) -> str:
        """The same text without any of them."""
        if not self._forms or not text:
            return text
        for form in self._forms:
            if form in text:
                text = text.replace(form, WORD)
        *heads, rest = _CUT.split(text)  # each head has its mark behind it
        return "".join(self._without_stump(one) if not place % 2 else one for place, one in enumerate(heads)) + rest

    def event(self, event: RunEvent) -> RunEvent:
        """An event; its times and numbers are left, a secret may look like one."""
        if not self._forms:
            return event
        said = {name: self.text(getattr(event, name)) for name in ("host", "task", "text", "diff")}
        return event.model_copy(update={**said, "data": self.data(event.data)})

    def result(self, result: RunResult) -> RunResult:
        """How it ended."""
        if not self._forms:
            return result
        said = {name: self.text(getattr(result, name)) for name in ("why", "output", "diff")}
        said_lists = ("changes", "not_previewable", "preview_ends")
        lists = {name: tuple(map(self.text, getattr(result, name))) for name in said_lists}
        return result.model_copy(update={**said, **lists})

    def data(self, value: Any) -> Any:
        """The same plain data, at any depth."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(one) for one in value]
        return value

    def _without_stump(self, head: str) -> str:
        """A text was cut in the middle of a secret: its beginning goes, too."""
        for form in self._forms:
            for length in range(len(form) - 1, LEAST - 1, -1):
                if head.endswith(form[:length]):
                    return head[:-length] + WORD
        return head


def _forms(secret: bytes) -> set[str]:
    text = secret.decode("utf-8", "replace").strip("\r\n")
    lines = [line.strip() for line in text.splitlines()]
    wholes = {text, text.strip()} | {line for line in lines if len(lines) > 1 and len(line) >= _LEAST_LINE}
    forms: set[str] = set()
    for whole in wholes:
        if len(whole) < LEAST:
            continue
        forms |= {whole, clean(whole, len(whole) + 1), quote(whole, safe=""), quote(whole), quote_plus(whole)}
        forms |= {json.dumps(whole)[1:-1], json.dumps(whole, ensure_ascii=False)[1:-1], repr(whole)[1:-1]}
        forms |= {one.replace("%", "%25") for one in (quote(whole, safe=""),)}
        forms |= _base64(whole.encode())
    return forms | _base64(secret)


def _base64(value: bytes) -> set[str]:
    """As base64 shows it wherever it begins in what was encoded, as the password of a Basic header does."""
    found = set()
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + value).rstrip(b"=").decode()
        # what shares a character with its neighbours differs from place to place
        first = (0, 2, 3)[offset]
        last = len(coded) if (offset + len(value)) % 3 == 0 else len(coded) - 1
        for one in (coded[first:last], coded[first:last].translate(str.maketrans("+/", "-_"))):
            if len(one) >= 2 * LEAST:
                found.add(one)
    return found
