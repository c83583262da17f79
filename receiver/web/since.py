"""How far a log was shown: what a browser says when its stream was cut, so that it goes on without loss or doubling."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DIGITS = 19


@dataclass(frozen=True)
class Since:
    """The attempt and the number of its last line."""

    attempt: str = ""
    seq: int = -1

    def __str__(self) -> str:
        return f"{self.attempt}.{self.seq}"

    @classmethod
    def read(cls, text: str) -> Since:
        """As a browser gives it back; nonsense is the beginning."""
        attempt, _, seq = text.rpartition(".")
        is_number = seq.isascii() and seq.isdigit() and len(seq) < _MOST_DIGITS
        return cls(attempt, int(seq)) if attempt and is_number else cls()
