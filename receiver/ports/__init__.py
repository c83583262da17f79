"""What the stages ask of the world, as small roles. Each has a fake in `receiver.testing` and real adapters.

Decides nothing. Every method raises `Unavailable` when the other side does not answer, `Refused` when a
person must act, and nothing else.
"""

from __future__ import annotations

from receiver.ports.approved import Adoption, Branches, Forge, Hosting, Repo, Signatures, Turn, Watchbook
from receiver.ports.happened import (
    Cases,
    Chronicle,
    Clearance,
    Clearances,
    Embedder,
    Event,
    Gate,
    Inbox,
    Lease,
    Ledger,
    Locks,
    Memory,
    Outage,
    Post,
    Receipt,
    Runs,
    Sites,
    Steps,
)
from receiver.ports.people import Acceptances, Access, Archive, Deliveries, Desk, Logs, Page, Pulse, ReviewDesk, Token
from receiver.ports.world import Clock, Facts, Notifier, Planner, Proof, Purse, Runner, Spent

__all__ = [
    "Acceptances",
    "Access",
    "Adoption",
    "Archive",
    "Branches",
    "Cases",
    "Chronicle",
    "Clearance",
    "Clearances",
    "Clock",
    "Deliveries",
    "Desk",
    "Embedder",
    "Event",
    "Facts",
    "Forge",
    "Gate",
    "Hosting",
    "Inbox",
    "Lease",
    "Ledger",
    "Locks",
    "Logs",
    "Memory",
    "Notifier",
    "Outage",
    "Page",
    "Planner",
    "Post",
    "Proof",
    "Pulse",
    "Purse",
    "Receipt",
    "Repo",
    "ReviewDesk",
    "Runner",
    "Runs",
    "Signatures",
    "Sites",
    "Spent",
    "Steps",
    "Token",
    "Turn",
    "Watchbook",
]
