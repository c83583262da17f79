"""An alert as Alertmanager sends it (webhook payload version 4), read with suspicion.

Decides what is readable and under which identity. Refuses nothing: what cannot be believed becomes an
`Unreadable` with its reason, and never takes its neighbours with it. Only `alerts[].status` is believed;
the group's own `status` can be wrong (a truncated group says `resolved` while alerts still fire).
Payload: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from receiver.domain.outcome import NoCase
from receiver.domain.record import Record

#: alerts that fire on purpose, to prove that the chain works
BENIGN = frozenset({"Watchdog", "InfoInhibitor", "DeadMansSwitch"})
MAX_LABELS = 64
MAX_LABEL_BYTES = 4096
MAX_ANNOTATION_BYTES = 16384
_FINGERPRINT = re.compile(r"[0-9a-f]{16}", re.ASCII)
_LABEL_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
#: Go writes times as RFC 3339 with up to nine digits
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})", re.ASCII)
#: the zero time of Go: "not set"
_ZERO_YEAR = 1
_SEVERITY_RANK = {"critical": 0, "page": 0, "error": 1, "high": 1, "warning": 2, "info": 3, "none": 3}


class Alert(Record):
    """One alert of one source."""

    source: str
    fingerprint: str  #: 16 hex digits over all labels
    starts_at: datetime
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    ends_at: datetime | None = None
    generator_url: str = ""
    truncated: bool = False  #: the group it came with had more alerts than were sent

    @property
    def name(self) -> str:
        """The label `alertname`."""
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        """The label `severity`, `none` when there is none."""
        return self.labels.get("severity", "none")

    @property
    def severity_rank(self) -> int:
        """0 most severe to 3; an unknown word counts as a warning."""
        return _SEVERITY_RANK.get(self.severity.lower(), 2)


class Unreadable(Record):
    """A piece of a delivery that could not be believed."""

    position: int  #: index in `alerts`, -1 for the whole body
    reason: str


class Delivery(Record):
    """What one POST said."""

    alerts: tuple[Alert, ...]
    unreadable: tuple[Unreadable, ...] = ()


def read_delivery(body: bytes, *, source: str, drop_labels: frozenset[str] = frozenset()) -> Delivery:
    """Read one webhook body. Never raises: what cannot be read is returned as such.

    `drop_labels` (replica labels) are removed before the identity is computed.
    """
    try:
        payload = _JSON.decode(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        return Delivery(alerts=(), unreadable=(Unreadable(position=-1, reason=f"not JSON: {error}"[:200]),))
    if not isinstance(payload, dict) or not isinstance(payload.get("alerts"), list):
        reason = "no list named 'alerts': not an Alertmanager webhook"
        return Delivery(alerts=(), unreadable=(Unreadable(position=-1, reason=reason),))
    truncated = payload.get("truncatedAlerts")
    is_truncated = isinstance(truncated, int) and truncated > 0
    alerts: list[Alert] = []
    unreadable: list[Unreadable] = []
    for position, raw in enumerate(payload["alerts"]):
        try:
            alerts.append(_read_alert(raw, source=source, drop_labels=drop_labels, truncated=is_truncated))
        except ValueError as error:
            unreadable.append(Unreadable(position=position, reason=str(error)[:200]))
    return Delivery(alerts=_merged(alerts), unreadable=tuple(unreadable))


def no_case_reason(alert: Alert, *, connected_at: datetime) -> NoCase | None:
    """Why this alert, never seen before, opens no case; None when it does."""
    if alert.name in BENIGN:
        return NoCase.BENIGN
    if alert.status == "resolved":
        return NoCase.RESOLVED_FIRST
    if alert.starts_at < connected_at:
        return NoCase.BEFORE_CONNECTION
    return None


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """16 hex digits over the sorted labels; used when the payload has no usable fingerprint."""
    text = "\x00".join(f"{name}\x01{value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _no_constant(name: str) -> Any:
    raise ValueError(f"the constant {name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _merged(alerts: list[Alert]) -> tuple[Alert, ...]:
    """One alert per identity, in a fixed order (so that two batches never deadlock); resolved wins."""
    best: dict[tuple[str, datetime], Alert] = {}
    for alert in alerts:
        key = (alert.fingerprint, alert.starts_at)
        if key not in best or alert.status == "resolved":
            best[key] = alert
    return tuple(best[key] for key in sorted(best))


def _read_alert(raw: Any, *, source: str, drop_labels: frozenset[str], truncated: bool) -> Alert:
    if not isinstance(raw, dict):
        raise ValueError("an alert must be an object")
    labels = _texts(raw.get("labels"), "labels", MAX_LABEL_BYTES)
    labels = {name: value for name, value in labels.items() if name not in drop_labels}
    if not labels:
        raise ValueError("an alert without labels has no identity")
    status = raw.get("status")
    if status not in ("firing", "resolved"):
        raise ValueError(f"status must be firing or resolved, not {status!r:.40}")
    starts_at = read_time(raw.get("startsAt"), "startsAt")
    if starts_at is None:
        raise ValueError("startsAt is missing or zero")
    fingerprint = raw.get("fingerprint")
    usable = isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint) and not drop_labels
    url = raw.get("generatorURL")
    return Alert(
        source=source,
        fingerprint=str(fingerprint) if usable else fingerprint_of(labels),
        starts_at=starts_at,
        status=status,
        labels=labels,
        annotations=_texts(raw.get("annotations") or {}, "annotations", MAX_ANNOTATION_BYTES),
        ends_at=read_time(raw.get("endsAt"), "endsAt"),
        generator_url=_clean(url)[:4096] if isinstance(url, str) else "",
        truncated=truncated,
    )


def _texts(raw: Any, what: str, limit: int) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise ValueError(f"{what} must be an object")
    if len(raw) > MAX_LABELS:
        raise ValueError(f"{what} has {len(raw)} entries, more than {MAX_LABELS}")
    texts = {}
    for name, value in raw.items():
        if not isinstance(value, str):
            raise ValueError(f"{what}.{name!s:.60} must be a string")
        clean_name = _clean(name)
        if not _is_name(clean_name):
            raise ValueError(f"{what} has the name {name!r:.60}")
        value = _clean(value)
        # a character has four bytes at most: what is short enough need not be counted
        if len(value) * 4 > limit and len(value.encode()) > limit:
            raise ValueError(f"{what}.{name!s:.60} is longer than {limit} bytes")
        texts[clean_name] = value
    return texts


@lru_cache(4096)
def _is_name(text: str) -> bool:
    """The same few names come with every alert."""
    return _LABEL_NAME.fullmatch(text) is not None


def _clean(text: str) -> str:
    """Without what no database text can hold: NUL, and surrogates that stand alone."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def read_time(raw: Any, what: str) -> datetime | None:
    """An RFC 3339 time with up to nine digits, in UTC; None when unset. Raises ValueError naming `what`."""
    if raw in (None, ""):
        return None
    match = _TIME.fullmatch(raw) if isinstance(raw, str) else None
    if not match:
        raise ValueError(f"{what} is not an RFC 3339 time: {raw!r:.60}")
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone}")
        if moment.year <= _ZERO_YEAR:
            return None
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{what} is not a time: {raw!r:.60}") from error
