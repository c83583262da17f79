"""Every error of gitmedic, named by what happens next.

    GitmedicError
    ├── Retry            come back later; nothing is wrong that time or the other side will not mend
    │   └── Unavailable  a store, source, forge or host did not answer
    ├── Refused          a person must act: bad input, a policy, a limit, a missing setting
    │   ├── Invalid      a text that somebody wrote does not say what it must (file, field, value)
    │   └── Conflict     somebody else was first: an old head, a lost lease, a taken claim
    └── Broken           a bug of ours; never caught to go on

A message says what was being done, quotes the value and, for `Refused`, names the next step.
"""

from __future__ import annotations

from datetime import datetime


class GitmedicError(Exception):
    """The root; raise one of its children."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        #: one sentence for people: what was being done and what stood in the way
        self.message = message


class Retry(GitmedicError):
    """Come back at `at`, or in `after_seconds` when no moment is known; `tell` a person the first time."""

    def __init__(
        self, message: str, *, at: datetime | None = None, after_seconds: float = 5.0, tell: bool = False
    ) -> None:
        super().__init__(message)
        self.at = at
        self.after_seconds = after_seconds
        self.tell = tell


class Unavailable(Retry):
    """Something outside did not answer, or its disk or its connections are used up."""


class Refused(GitmedicError):
    """A person must act; `next_step` says how, `reason` is the machine's word for it."""

    def __init__(self, message: str, *, next_step: str = "", reason: str = "refused") -> None:
        super().__init__(message)
        self.next_step = next_step
        self.reason = reason


class Invalid(Refused):
    """A text that somebody wrote does not say what it must; `where` names file and field."""

    def __init__(self, message: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, next_step=next_step, reason="invalid")
        self.where = where


class Conflict(Refused):
    """Somebody else was first."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step, reason="conflict")


class Broken(GitmedicError):
    """A bug of ours: a state that the code says cannot be."""
