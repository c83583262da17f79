"""Names that may be handed to git: object ids, branches, paths, claim words.

Everything else is refused here, so that no outside string is ever an option, a revision expression, a second
line on git's stdin or a path outside the repository.
"""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

from receiver.adapters.repo.settings import BRANCH
from receiver.errors import Invalid

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCH = re.compile(BRANCH)
#: the first letter of every part keeps out `..`, `.git`, `-option` and empty parts at once
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SIGNATURE = re.compile(r"[^<>\x00-\x1f\x7f]{1,100} <[^<>\s\x00-\x1f\x7f]{1,200}>")


def is_id(text: str | None) -> bool:
    """Whether it is a full object id; a short one could be a branch or be ambiguous tomorrow."""
    return text is not None and _ID.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether it is a plain path below the repository's root."""
    return len(text) <= 400 and _PATH.fullmatch(text) is not None and not text.endswith(".lock")


def check_id(text: str, what: str = "commit") -> str:
    """The id, or `Invalid`."""
    if not is_id(text):
        raise Invalid(f"{text[:80]!r} is no full {what} id", next_step="give all 40 hexadecimal digits")
    return text


def check_branch(text: str) -> str:
    """The branch name, or `Invalid`."""
    parts = text.split("/")
    bad = len(text) > 200 or _BRANCH.fullmatch(text) is None or any(part.endswith(".lock") for part in parts)
    if bad or is_id(text) or text == "HEAD":
        raise Invalid(
            f"{text[:80]!r} is no branch name for a proposal",
            next_step="use letters, digits, '_', '-', and single '.' or '/' between them",
        )
    return text


def check_ref_name(text: str) -> str:
    """A branch that somebody else named, or `Invalid`: what git calls a branch, whatever its letters."""
    parts = text.split("/")
    odd = any(letter in " ~^:?*[\\" or unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in text)
    bad = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    if odd or bad or len(text) > 400 or text.startswith("-") or ".." in text or "@{" in text or text == "@":
        raise Invalid(f"{text[:80]!r} is no branch that git would have", next_step="rename the branch")
    return text


def check_path(text: str) -> str:
    """The path, or `Invalid`."""
    if not is_path(text):
        raise Invalid(
            f"{text[:80]!r} is no path for a file of the ops repository",
            next_step="use letters, digits, '.', '_' and '-', each part beginning with a letter or a digit",
        )
    return text


def check_run(text: str) -> str:
    """The run id, or `Invalid`."""
    if _RUN.fullmatch(text) is None:
        raise Invalid(f"{text[:80]!r} is no run id", next_step="a run id is a UUID in lower case")
    return text


def made_at(run: str) -> float | None:
    """When a run got its id, which is a UUIDv7; None for any other name."""
    value = UUID(run) if _RUN.fullmatch(run) else None
    return (value.int >> 80) / 1000 if value is not None and value.version == 7 else None


def check_word(text: str, what: str, *, least: int = 1) -> str:
    """An instance id or a nonce, or `Invalid`."""
    if _WORD.fullmatch(text) is None or len(text) < least:
        raise Invalid(f"{text[:80]!r} is no {what}: at least {least} letters, digits, '.', '_', ':' or '-'")
    return text


def check_signature(text: str) -> str:
    """`Name <address>`, or `Invalid`."""
    if _SIGNATURE.fullmatch(text) is None:
        raise Invalid(f"{text[:80]!r} is no author", next_step="write it as: Name <address>")
    return text


def check_tree_path(text: str) -> str:
    """A path of a file that a person brings (`init`, `adopt`); wider than `check_path`, still harmless."""
    parts = text.split("/")
    if any(part in ("", ".", "..") or part.casefold() in (".git", "git~1") for part in parts):
        raise Invalid(f"{text[:200]!r} cannot be a file of the ops repository", next_step="rename the file")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in text):
        raise Invalid(f"{text[:200]!r} has a control or formatting character in its name", next_step="rename the file")
    return text


def plain(text: str) -> str:
    """Without control, bidi and format characters; lines and tabs stay (rule S22)."""
    return "".join(
        letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs")
    )
