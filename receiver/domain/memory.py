"""What is remembered of a closed case, or noted by an operator: structured fields, never what a log said.

Decides nothing. A precedent informs a plan; it is no evidence and nothing is bound to it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from receiver.domain.record import Record


class Precedent(Record):
    """One remembered case, or one note."""

    id: str
    kind: Literal["case", "note"]
    at: datetime
    text: str  #: one line, written by us from ids and words of ours; of a note: the operator's own words
    alertname: str = ""
    entity: str = ""
    playbook: str | None = None
    outcome: str | None = None  #: of a case
    author: str = ""  #: of a note: the actor who wrote it
    tags: tuple[str, ...] = ()
    score: float = 0  #: how near it is; comparable within one recall only
