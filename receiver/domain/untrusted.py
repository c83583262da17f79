"""Text that an outsider can set, made plain before anybody reads it: bounded, visible, on one line.

Decides what is left of labels, annotations, log lines and a model's own prose. Refuses nothing; what is hidden
(format and tag characters, variation selectors), what acts (links, mentions, commands, markup) and what is too
much is taken out.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LABEL = 256
MAX_ANNOTATION = 2048
MAX_LINE = 300
MAX_LINES = 20
MAX_PROSE = 400

_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
#: variation selectors carry bytes that nobody sees
_SELECTORS = re.compile("[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef\u3164\u115f\u1160\uffa0]")
_SPACES = re.compile(r"\s+")
_LINK = re.compile(r"(?:\b[a-z][a-z0-9+.-]{0,15}://|\bwww\.|\b(?:mailto|javascript|data):)[^\s]*", re.IGNORECASE)
#: names of units and of files are no domains
_DOMAIN = re.compile(
    r"\b(?:[a-z0-9-]{1,63}\.){1,8}(?!(?:service|timer|mount|socket|conf|log|yml)\b)[a-z][a-z0-9-]{1,62}\b(?:[:/][^\s]*)?",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]{0,200}>")
_MENTION = re.compile(r"[@!#](?=[\w-])")
_COMMAND = re.compile(r"(^|\s)/+(?=[a-z])", re.IGNORECASE)
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\s*:?\s+(?:gh-)?#?\d+", re.IGNORECASE)
_CHECKBOX = re.compile(r"\[[ xX]?\]")
_MARKUP = re.compile(r"[`*_~|<>\[\](){}\\#&$^]")
#: how many characters of the raw text are looked at; the rest could only be cut anyway
_LOOKED_AT = 8


def tame(text: str, limit: int) -> str:
    """One line of what a person would see, at most `limit` characters; a cut one says so."""
    raw = text[: limit * _LOOKED_AT]
    normal = unicodedata.normalize("NFKC", _SELECTORS.sub("", raw))
    spaced = "".join(" " if c in "\r\n\t\u2028\u2029" else c for c in normal)
    seen = "".join(c for c in spaced if unicodedata.category(c) not in _UNSEEN)
    one = _SPACES.sub(" ", seen).strip()
    return one if len(one) <= limit and len(raw) == len(text) else f"{one[: limit - 1]}…"


def log_lines(text: str) -> list[str]:
    """The last lines of a log: the end is where it says what went wrong."""
    tail = text[-MAX_LINES * MAX_LINE * _LOOKED_AT :]
    lines = [line for line in re.split(r"[\r\n]+", tail) if line.strip()]
    return [tame(line, MAX_LINE) for line in lines[-MAX_LINES:]]


def prose(text: str, limit: int = MAX_PROSE) -> str:
    """A model's words as words only: no link, mention, command, check box or markup; at most `limit` characters."""
    plain, before = tame(text, limit * 4), ""
    while plain != before:  # what was joined by taking something out could act again
        before, plain = plain, _words(plain)
    return plain[:limit].rstrip()


def _words(text: str) -> str:
    for pattern in (_TAG, _LINK, _CLOSES, _DOMAIN, _CHECKBOX):
        text = pattern.sub(" ", text)
    text = _COMMAND.sub(r"\1", _MENTION.sub("", _MARKUP.sub("", text)))
    return _SPACES.sub(" ", text).strip()
