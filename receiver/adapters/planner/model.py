"""What the tier loop asks of a model: one question, one text, what it cost. Imports no client.

Decides the words for what can go wrong: each is a reason that a case shows and a metric counts.
"""

from __future__ import annotations

from typing import Any, Protocol

from receiver.domain.plan import Reason
from receiver.domain.record import Record


class Asked(Record):
    """One request."""

    instructions: str  #: what comes first and stays the same; may be cached
    question: str  #: ends with the one block of outside text
    form: dict[str, Any]  #: JSON Schema of the answer
    cache: bool = False  #: whether the instructions are worth keeping there


class Heard(Record):
    """What came back."""

    text: str
    is_cut: bool = False  #: at max_tokens
    refusal: str | None = None
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cost_usd: float = 0


class Failed(Exception):
    """No answer; `reason` is the word for it, `str` the sentence."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason: Reason = reason


class Model(Protocol):
    """One model behind one endpoint."""

    name: str

    async def ready(self) -> None:
        """Load its client, which takes a moment the first time; not on anybody's deadline."""

    async def ask(self, asked: Asked) -> Heard:
        """One request, without any retry; raises `Failed`. Whoever asks sets the time."""

    def price(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
        """USD for these; 0 for a local one, None when nobody knows."""

    async def aclose(self) -> None:
        """Close its connections."""
