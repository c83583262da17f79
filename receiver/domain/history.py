"""The past, as the store counts it for one alert."""

from __future__ import annotations

from datetime import datetime

from receiver.domain.record import Record


class History(Record):
    """What triage, approve and learn want to know; the case that asks is not counted."""

    now: datetime  #: the database's clock
    last_acted_at: datetime | None = None  #: a case of this alert name on this entity last ended after acting
    fires_last_hour: int = 0  #: starts of this fingerprint within an hour
    storm_alerts: int = 0  #: fingerprints of this alert name that opened a case within the storm window
    storm_case: str | None = None  #: the first of them, which speaks for all
    alert_resolved_at: datetime | None = None  #: the source said `resolved`: a hint, never a proof
