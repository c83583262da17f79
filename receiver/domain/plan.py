"""What to do about an alert: chosen by rules or a model, bound to facts by code."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Literal

from receiver.domain.record import Record

Action = Literal["playbook", "diagnose", "notify", "none"]


class Candidate(Record):
    """A playbook that was considered, and why it was or was not taken."""

    playbook: str
    chosen: bool
    why: str


class Offer(Record):
    """A way to see that it helped, from which a plan may choose; the text of a query is never a model's."""

    id: str
    promql: str = ""
    note: str = ""


class Plan(Record):
    """A decision. `params` are values that code took from facts, never text that a model wrote."""

    action: Action
    playbook: str | None = None
    binds: dict[str, str] = {}  #: parameter → fact id
    params: dict[str, Any] = {}  #: parameter → value
    evidence: tuple[str, ...] = ()  #: fact ids
    verify: str | None = None  #: id of the offer that would show the effect
    why: str  #: words of ours
    rationale: str = ""  #: a model's prose, cleaned, at most 400 characters; shown last, believed by nobody
    expected_effect: str = ""  #: the same, for what it expects to see
    confidence: float | None = None  #: a model's own number, 0 to 1; stored, never used
    tier: str = ""  #: who decided
    candidates: tuple[Candidate, ...] = ()

    @property
    def digest(self) -> str:
        """Of playbook and parameters: the same again is the same."""
        said = json.dumps([self.playbook, self.params], sort_keys=True, separators=(",", ":"), default=str)
        return sha256(said.encode()).hexdigest()


#: why a tier's answer was not taken; empty when it was, or when it abstained
Reason = Literal[
    "", "timeout", "unavailable", "rate_limit", "auth", "not_found", "refusal", "schema", "unbound", "cut",
    "budget", "disagreed", "skipped",
]  # fmt: skip


class Attempt(Record):
    """One tier's try."""

    tier: str
    model: str = ""
    verdict: Literal["accepted", "moved_on"]
    why: str
    reason: Reason = ""
    prompt: str = ""  #: version of the prompt files: the first 12 digits of their digest
    requests: int = 0  #: the first one and the retry with reasons
    seconds: float = 0
    tokens_in: int = 0  #: all that was sent, the cached part included
    tokens_cached: int = 0
    tokens_out: int = 0
    cost_usd: float = 0
