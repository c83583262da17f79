"""Which branches a protection rule of Gitea or Forgejo means, by its name.

Decides as the forge does: a plain name without regard to case, else a pattern in which `*` and `?` stop at a slash and
`**` does not. Matches in time bounded by both lengths, whatever a rule's author wrote. Refuses nothing: a pattern
that is none, or has too many alternatives, matches only itself.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_ALTERNATIVES = 64
_MOST_CHARACTERS = 500


@dataclass(frozen=True)
class _Token:
    """What one character of a branch's name is held against."""

    of: str = ""  #: these, and ranges such as `a-z`
    others: bool = False  #: any but those of `of`
    again: bool = False  #: any number of times


_ONE, _STAR, _ALL = _Token("/", others=True), _Token("/", others=True, again=True), _Token("", others=True, again=True)


def is_glob(name: str) -> bool:
    """Whether a rule's name is a pattern."""
    return any(c in "*?[]{}\\" for c in name)


def matches(pattern: str, branch: str) -> bool:
    """Whether the rule of this name is about this branch."""
    if not is_glob(pattern):
        return pattern.lower() == branch.lower()
    if len(pattern) > _MOST_CHARACTERS or len(branch) > _MOST_CHARACTERS:
        return pattern == branch
    wholes = _alternatives(pattern)
    if wholes is None:
        return pattern == branch
    return any(_walk(_tokens(one), branch) for one in wholes)


def _alternatives(pattern: str) -> list[str] | None:
    """Without braces: one pattern for each choice. None: too many, or a brace that is not closed."""
    waiting: list[str] = [pattern]
    found: list[str] = []
    while waiting:
        if len(waiting) + len(found) > _MOST_ALTERNATIVES:
            return None
        one = waiting.pop()
        start = _outside(one, "{", 0)
        if start < 0:
            found.append(one)
            continue
        end = _outside(one, "}", start)
        if end < 0:
            return None
        # the innermost first, so that what is left has no brace inside a choice
        inner = start
        while (deeper := _outside(one[:end], "{", inner + 1)) >= 0:
            inner = deeper
        waiting += [one[:inner] + choice + one[end + 1 :] for choice in one[inner + 1 : end].split(",")]
    return found


def _outside(text: str, wanted: str, at: int) -> int:
    """Where a character stands that no backslash escapes; -1: nowhere."""
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == wanted:
            return at
        at += 1
    return -1


def _tokens(pattern: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(pattern):
        c = pattern[at]
        if c == "*":
            stars = len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            found.append(_ALL if stars > 1 else _STAR)
            at += stars
            continue
        end = pattern.find("]", at + 2)
        if c == "?":
            found.append(_ONE)
        elif c == "[" and end > 0:
            inside = pattern[at + 1 : end]
            found.append(_Token(inside.removeprefix("!"), others=inside.startswith("!")))
            at = end
        else:
            at += c == "\\" and at + 1 < len(pattern)
            found.append(_Token(pattern[at]))
        at += 1
    return found


def _walk(tokens: list[_Token], text: str) -> bool:
    """All ways at once: which tokens may be next, character by character."""
    places = _onward({0}, tokens)
    for c in text:
        hits = {at for at in places if at < len(tokens) and _takes(tokens[at], c)}
        places = _onward({at if tokens[at].again else at + 1 for at in hits}, tokens)
    return len(tokens) in places


def _onward(places: set[int], tokens: list[_Token]) -> set[int]:
    found = set(places)
    for at in places:
        while at < len(tokens) and tokens[at].again:
            at += 1
            found.add(at)
    return found


def _takes(token: _Token, c: str) -> bool:
    of, at, found = token.of, 0, False
    while at < len(of):
        if of[at + 1 : at + 2] == "-" and at + 2 < len(of):
            found, at = found or of[at] <= c <= of[at + 2], at + 3
        else:
            found, at = found or of[at] == c, at + 1
    return found != token.others
