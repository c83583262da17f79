"""How a case is told: which step it is at, what each line of its timeline is, how a run goes host by host.

Decides what is a fact, a hypothesis, a decision, an action or a proof: they are never shown alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

STEPS = ("Alert", "Facts", "Decision", "Dry run", "Approval", "Run", "Proof")
#: a case of this kind is at this step
_AT = {"received": 0, "triaged": 1, "investigated": 2, "planned": 2, "vetted": 3, "rehearsed": 4, "proposed": 4,
       "approved": 5, "executed": 6, "verified": 6}  # fmt: skip
#: a case that once became this kind has this step behind it
_BEHIND = {"received": 0, "triaged": 0, "investigated": 1, "planned": 2, "vetted": 2, "rehearsed": 3, "approved": 4,
           "executed": 5, "verified": 6}  # fmt: skip
#: event kind → what it is; the longest beginning that fits
_NATURES = {
    "case.received": "fact",
    "case.triaged": "fact",
    "case.investigated": "fact",
    "case.planned": "hypothesis",
    "case.vetted": "decision",
    "case.rehearsed": "action",
    "case.proposed": "action",
    "case.approved": "decision",
    "case.executed": "action",
    "case.verified": "proof",
    "case.ended": "decision",
    "case.closed": "decision",
    "case.waiting": "waiting",
    "proposal.": "decision",
    "run.": "action",
    "alert.": "fact",
}
_WORDS = {"case.closed": "outcome", "case.ended": "ended"}
_COLUMNS = ("ok", "changed", "skipped", "failed", "unreachable")


def natures(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The timeline, each line with what it is."""
    told = []
    for event in events:
        kind = event["kind"]
        nature = next((word for start, word in _NATURES.items() if kind.startswith(start)), "action")
        word = _WORDS.get(kind, kind.removeprefix("case.").replace("_", " ").replace(".", " "))
        told.append({**event, "nature": nature, "word": word})
    return told


def rail(case: dict[str, Any]) -> list[dict[str, str]]:
    """The way with the steps behind, the one under way, and those ahead; an early end leaves the rest out."""
    passed = [event["kind"].removeprefix("case.") for event in case["events"]]
    reached = max((_BEHIND.get(kind, 0) for kind in passed), default=0)
    now = _AT.get(case["state"])
    steps = []
    for number, name in enumerate(STEPS):
        if now is None:
            mark = "done" if number <= reached else "out"
        else:
            mark = "done" if number < now else "now" if number == now else "ahead"
        steps.append({"name": name, "mark": mark})
    return steps


def tally(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Host → how many tasks ended how."""
    hosts: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["kind"] in _COLUMNS:
            hosts.setdefault(row["host"], dict.fromkeys(_COLUMNS, 0))[row["kind"]] = row["number"]
    return hosts
