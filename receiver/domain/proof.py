"""What a source can prove about an alert: that it fires, and after a run that it does not.

Three values, never two: an empty answer is not a good answer.
"""

from __future__ import annotations

from datetime import datetime

from receiver.domain.outcome import Verdict
from receiver.domain.record import Record


class Baseline(Record):
    """The alert's own rule, as its source knew it when the case was opened; what verify compares with."""

    expression: str
    for_seconds: float = 0
    interval_seconds: float = 15  #: evaluation interval of the rule's group
    range_seconds: float = 0  #: longest range selector in the expression: how long old samples speak
    value: float | None = None


class Confirmation(Record):
    """Whether the source itself says that this alert fires, and may say so (rule S3)."""

    confirmed: bool
    why: str  #: one sentence for people
    baseline: Baseline | None = None
    simulated: bool = False


class Reading(Record):
    """One look at the alert's expression."""

    verdict: Verdict
    why: str  #: one sentence for people
    value: float | None = None
    sample_at: datetime | None = None  #: newest sample of the alert's own series
    expression: str = ""
    simulated: bool = False
    settling: bool = False  #: quiet, and not seen for long enough yet: no last word


class Check(Record):
    """The answer of one of the playbook's own verify queries."""

    id: str
    promql: str
    verdict: Verdict
    why: str
    value: float | None = None


class Verification(Record):
    """Before and after, and what it adds up to."""

    verdict: Verdict
    why: str
    before: Reading | None = None
    after: Reading
    checks: tuple[Check, ...] = ()
