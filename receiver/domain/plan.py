"""What to do about an alert: chosen by rules or a model, bound to facts by code."""

from __future__ import annotations

from typing import Any, Literal

from receiver.domain.record import Record

Action = Literal["playbook", "diagnose", "notify", "none"]


class Candidate(Record):
    """A playbook that was considered, and why it was or was not taken."""

    playbook: str
    chosen: bool
    why: str


class Plan(Record):
    """A decision. `params` are values that code took from facts, never text that a model wrote."""

    action: Action
    playbook: str | None = None
    binds: dict[str, str] = {}  #: parameter → fact id
    params: dict[str, Any] = {}  #: parameter → value
    evidence: tuple[str, ...] = ()  #: fact ids
    why: str
    candidates: tuple[Candidate, ...] = ()


class Attempt(Record):
    """One tier's try."""

    tier: str
    model: str = ""
    verdict: Literal["accepted", "moved_on"]
    why: str
    seconds: float = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0
