"""The lesson of a closed case, as a scenario: what was known then, and what the outcome teaches.

Decides from measured outcomes and people's words only: what proved to fix is accepted, what did not fix or was
rejected is rejected. Where nothing was measured, everything else is right, and a person should say more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from receiver.domain.alert import Alert
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome
from receiver.domain.question import offers_of
from receiver.domain.revision import Revision
from receiver.domain.scenario import Answer, Expected, Kind, Scenario, StatedFact
from receiver.errors import Refused

_FAILED = (Outcome.NOT_FIXED, Outcome.FAILED)


def scenario_of(case: Closed, revision: Revision | None) -> Scenario:
    """The scenario; raises `Refused` for a case without an alert or that ended before facts were gathered."""
    if case.alert is None:
        raise Refused(f"exporting case {case.id}: a person began it, there is no alert to decide about")
    if not case.facts:
        raise Refused(f"exporting case {case.id}: it ended before facts were gathered ({case.outcome})")
    kind, expected = _taught(case)
    names = {case.plan.playbook or ""} if case.plan else set()
    offers = [
        offer for offer in (offers_of(revision.catalog) if revision else ())
        if offer.id == "alert" or offer.id.partition(".")[0] in names
    ]  # fmt: skip
    return Scenario(
        id=f"case-{case.id}", kind=kind, tags=(str(case.outcome),), alert=payload_of(case.alert),
        facts=tuple(
            StatedFact(
                id=fact.id, kind=fact.kind, value=fact.value, unit=fact.unit, source=fact.source, trusted=fact.trusted,
                note=fact.note,
            )
            for fact in case.facts
        ),
        verify=tuple(offers), expected=expected, why=case.why,
        domain=(case.plan.playbook or "").partition("_")[0] if case.plan else "",
    )  # fmt: skip


def payload_of(alert: Alert) -> dict[str, Any]:
    """The alert as a webhook payload of version 4."""
    one = {
        "status": alert.status, "labels": alert.labels, "annotations": alert.annotations,
        "startsAt": _time(alert.starts_at), "endsAt": _time(alert.ends_at), "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }  # fmt: skip
    return {
        "version": "4", "groupKey": "", "truncatedAlerts": 0, "status": alert.status, "receiver": alert.source,
        "groupLabels": {}, "commonLabels": alert.labels, "commonAnnotations": alert.annotations, "externalURL": "",
        "alerts": [one],
    }  # fmt: skip


def _taught(case: Closed) -> tuple[Kind, Expected]:
    plan = case.plan
    chosen = plan.playbook if plan else None
    if plan is not None and chosen and case.outcome is Outcome.FIXED:
        right = Answer(action="playbook", playbook=chosen, params=plan.params)
        return "remediate", Expected(accept=(right,))
    if chosen and case.outcome in (*_FAILED, Outcome.REJECTED):
        return "hold", Expected(reject_playbooks=(chosen,))
    if case.outcome is Outcome.SELF_RESOLVED:
        return "hold", Expected(accept=(Answer(action="none"),), ok_also=(Answer(action="notify"),))
    return "diagnose", Expected()


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else "0001-01-01T00:00:00Z"
