"""The words for how things end. Each is stored, shown, counted and documented under this one name."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a case ended."""

    FIXED = "fixed"  #: ran, and the alert's own expression proves the fix
    NOT_FIXED = "not_fixed"  #: ran, and the alert still fires
    NO_DATA = "no_data"  #: ran, and nothing can be said: the evidence is missing
    FAILED = "failed"  #: the run ended with an error, or did not reach every target
    INTERRUPTED = "interrupted"  #: the executor died in the middle; the outcome is unknown
    CANCELLED = "cancelled"  #: a person stopped the run
    REJECTED = "rejected"  #: a person closed the proposal
    EXPIRED = "expired"  #: nobody decided in time
    SUPERSEDED = "superseded"  #: what was proposed no longer stands; a new case replaces it
    SELF_RESOLVED = "self_resolved"  #: the problem was proved gone before anything ran
    REFUSED = "refused"  #: a policy or approval check said no
    REHEARSAL_FAILED = "rehearsal_failed"  #: the dry run did not end well
    OBSERVED = "observed"  #: all was decided and kept; the mode forbids contact with a host
    DIAGNOSED = "diagnosed"  #: read, not changed
    NOTIFIED = "notified"  #: nothing fits; a person was told
    NOTHING_TO_DO = "nothing_to_do"  #: the right answer is to do nothing
    COOLDOWN = "cooldown"  #: the same entity had a case moments ago
    FLAPPING = "flapping"  #: it comes and goes too often to act on
    MAINTENANCE = "maintenance"  #: a maintenance window covers it
    EXPLAINED = "explained"  #: an open, confirmed case on what it depends on explains it
    STORM = "storm"  #: too many at once; one case speaks for them


class NoCase(StrEnum):
    """Why an alert has a row but no case of its own."""

    DUPLICATE = "duplicate"  #: the same fingerprint has an open case; the row links it
    RESOLVED_FIRST = "resolved_first"  #: it had ended before it was ever seen firing
    BENIGN = "benign"  #: an alert that fires on purpose (Watchdog, InfoInhibitor)
    UNREADABLE = "unreadable"  #: kept as it came; no part of it could be believed
    BEFORE_CONNECTION = "before_connection"  #: it fired before its source was connected


class Verdict(StrEnum):
    """What verification can say."""

    RESOLVED = "resolved"
    STILL_FIRING = "still_firing"
    NO_DATA = "no_data"


class Role(StrEnum):
    """Which kind of worker may advance a case."""

    PLAN = "plan"  #: holds no credential for the infrastructure
    EXECUTE = "execute"  #: touches hosts, listens on no port


class Risk(StrEnum):
    """How much a playbook can hurt."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Risk).index(self)


class Mode(StrEnum):
    """The ceiling of what may be done."""

    OBSERVE = "observe"
    PROPOSE = "propose"
