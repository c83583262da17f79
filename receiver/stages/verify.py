"""Executed → Verified: did it help? Resolved, still firing, or no data; never more than is proved.

The alert's own expression decides, with a sample newer than the run, quiet for `for` and two evaluations, and
every verify query of the playbook. A green run proves nothing, and neither does a `resolved` webhook.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from receiver.domain.case import Closed, Executed, Verified
from receiver.domain.outcome import Verdict
from receiver.domain.proof import Baseline, Check, Reading, Verification
from receiver.errors import Retry
from receiver.evidence import checks_of, hold_seconds
from receiver.ports import Clock, Proof, Repo

#: a fix may need a moment after the run: this many evaluations beyond the hold
GRACE_EVALUATIONS = 5
_NO_ALERT = "a person asked, not an alert, and the playbook has no verify query"


async def verify(case: Executed, *, proof: Proof, repo: Repo, clock: Clock) -> Verified:
    """Look once; put off until the hold is over, and while there is still hope."""
    baseline = case.baseline or Baseline(expression="")
    ended, now = case.result.ended_at, clock.now()
    hold = hold_seconds(baseline.for_seconds, baseline.interval_seconds)
    settled_at = ended + timedelta(seconds=hold)
    if now < settled_at:
        raise Retry("settling: the hold after the run is not over", at=settled_at)
    reading = await _reading(case, baseline, proof, hold, ended)
    checks = await checks_of(case, case.runfile.targets, proof=proof, repo=repo, newer_than=ended)
    # a person asked, not an alert: the playbook's own checks are all the proof that there can be
    words: tuple[Reading | Check, ...] = checks if case.alert is None and checks else (reading, *checks)
    verdict, why = _sum(words)
    grace = baseline.interval_seconds * GRACE_EVALUATIONS
    last_at = settled_at + timedelta(seconds=baseline.range_seconds + grace)
    # a planner that was away that long has not seen it quiet yet, which is no reason to say that it fires
    is_early = now < last_at or reading.settling
    if (case.alert is not None or checks) and verdict is not Verdict.RESOLVED and is_early:
        raise Retry(f"settling: {verdict}", at=_next(now, baseline.interval_seconds, last_at))
    verification = Verification(verdict=verdict, why=why, before=case.before, after=reading, checks=checks)
    return case.become(Verified, verification=verification)


def _next(now: datetime, interval_seconds: float, last_at: datetime) -> datetime:
    """The next look, and one at the very end."""
    following = now + timedelta(seconds=interval_seconds)
    return min(following, last_at) if now < last_at else following


async def look_again(case: Closed, *, proof: Proof, repo: Repo) -> Verification:
    """One look for a person at an interrupted run: what it says of itself is not known, what is seen now is."""
    baseline = case.baseline or (case.confirmation.baseline if case.confirmation else None) or Baseline(expression="")
    ended = case.result.ended_at if case.result is not None else case.opened_at
    hold = hold_seconds(baseline.for_seconds, baseline.interval_seconds)
    reading = await _reading(case, baseline, proof, hold, ended)
    targets = case.runfile.targets if case.runfile is not None else ()
    checks = await checks_of(case, targets, proof=proof, repo=repo, newer_than=ended)
    words: tuple[Reading | Check, ...] = checks if case.alert is None and checks else (reading, *checks)
    verdict, why = _sum(words)
    return Verification(verdict=verdict, why=why, before=case.before, after=reading, checks=checks)


async def _reading(case: Executed | Closed, baseline: Baseline, proof: Proof, hold: float, ended: datetime) -> Reading:
    if case.alert is None:
        return Reading(verdict=Verdict.NO_DATA, why=_NO_ALERT)
    if not baseline.expression:
        return Reading(verdict=Verdict.NO_DATA, why="the alert's own expression is not known")
    return await proof.read(case.alert, baseline, newer_than=ended, held_seconds=hold)


def _sum(words: Sequence[Reading | Check]) -> tuple[Verdict, str]:
    """The weakest word counts: one that still fires, then one without data, then all resolved."""
    for verdict in (Verdict.STILL_FIRING, Verdict.NO_DATA):
        for word in words:
            if word.verdict is verdict:
                return verdict, word.why
    return Verdict.RESOLVED, words[0].why
