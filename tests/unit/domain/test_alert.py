"""Reading webhooks: nothing is refused, nothing takes its neighbours along."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.alert import Alert, fingerprint_of, no_case_reason, read_delivery

GOOD = {
    "status": "firing",
    "labels": {"alertname": "Down", "instance": "web1", "severity": "critical"},
    "annotations": {"summary": "it is down"},
    "startsAt": "2026-11-21T07:57:44.828123456Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph?g0.expr=up",
    "fingerprint": "a9a4bf1c38d8f617",
}


def body(*alerts: object, **top: object) -> bytes:
    return json.dumps({"version": "4", "status": "resolved", "alerts": list(alerts), **top}).encode()


def test_a_good_alert_is_read_as_it_is() -> None:
    delivery = read_delivery(body(GOOD), source="prom")
    assert delivery.unreadable == ()
    (alert,) = delivery.alerts
    assert alert.fingerprint == "a9a4bf1c38d8f617"
    assert alert.starts_at == datetime(2026, 11, 21, 7, 57, 44, 828123, tzinfo=UTC)
    assert alert.ends_at is None and alert.status == "firing" and not alert.truncated
    assert (alert.name, alert.severity, alert.severity_rank) == ("Down", "critical", 0)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b'"x"', b'{"alerts": {}}', b"\xff\xfe", b"[" * 100_000, b'{"alerts": NaN}'],
)
def test_a_body_that_is_no_webhook_is_one_unreadable_piece(raw: bytes) -> None:
    delivery = read_delivery(raw, source="prom")
    assert delivery.alerts == ()
    assert [piece.position for piece in delivery.unreadable] == [-1]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"labels": None},
        {"labels": {"a": 1}},
        {"labels": {"": "x"}},
        {"labels": {"a\nb": "x"}},
        {"labels": {"a": "x" * 5000}},
        {"labels": {str(n): "x" for n in range(65)}},
        {"annotations": {"a": "x" * 20000}},
        {"annotations": [1]},
        {"startsAt": None},
        {"startsAt": "yesterday"},
        {"startsAt": "2026-13-45T99:99:99Z"},
        {"startsAt": "9999-12-31T23:59:59-23:59"},
        {"startsAt": 10**30},
        {"startsAt": "0001-01-01T00:00:00Z"},
        {"endsAt": "soon"},
        {"status": "firing "},
        {"status": None},
    ],
)
def test_a_poison_alert_never_takes_its_neighbour(change: dict[str, object]) -> None:
    other = GOOD | {"labels": {"alertname": "Other"}, "fingerprint": "0" * 16}
    delivery = read_delivery(body(GOOD | change, other), source="prom")
    assert [alert.name for alert in delivery.alerts] == ["Other"]
    assert [piece.position for piece in delivery.unreadable] == [0]
    assert delivery.unreadable[0].reason


@pytest.mark.parametrize("raw", [1, None, "x", [], True])
def test_an_alert_must_be_an_object(raw: object) -> None:
    delivery = read_delivery(body(raw, GOOD), source="prom")
    assert len(delivery.alerts) == 1 and len(delivery.unreadable) == 1


def test_what_no_database_can_hold_is_replaced() -> None:
    labels = {"alertname": "a\x00b", "bidi": "\u202eevil", "lone": "\ud800", "jinja": "{{ 1 }}"}
    (alert,) = read_delivery(body(GOOD | {"labels": labels}), source="prom").alerts
    assert alert.labels["alertname"] == "a\ufffdb"
    assert alert.labels["jinja"] == "{{ 1 }}" and alert.labels["bidi"] == "\u202eevil"
    json.dumps(alert.model_dump(mode="json")).encode()


def test_the_same_alert_twice_is_one_and_resolved_wins() -> None:
    delivery = read_delivery(body(GOOD | {"status": "resolved"}, GOOD), source="prom")
    assert [alert.status for alert in delivery.alerts] == ["resolved"]


@pytest.mark.parametrize("fingerprint", [None, "", "A9A4BF1C38D8F617", "../x", 7, "a" * 17])
def test_without_a_usable_fingerprint_the_labels_are_the_identity(fingerprint: object) -> None:
    (alert,) = read_delivery(body(GOOD | {"fingerprint": fingerprint}), source="prom").alerts
    assert alert.fingerprint == fingerprint_of(GOOD["labels"])  # type: ignore[arg-type]


def test_replica_labels_are_dropped_before_the_identity() -> None:
    pair = [GOOD | {"labels": GOOD["labels"] | {"replica": r}, "fingerprint": r * 16} for r in "ab"]  # type: ignore[operator]
    delivery = read_delivery(body(*pair), source="prom", drop_labels=frozenset({"replica"}))
    assert len(delivery.alerts) == 1 and "replica" not in delivery.alerts[0].labels


@pytest.mark.parametrize(("truncated", "marked"), [(0, False), (7, True), ("x", False), (None, False)])
def test_a_truncated_group_is_marked(truncated: object, marked: bool) -> None:
    (alert,) = read_delivery(body(GOOD, truncatedAlerts=truncated), source="prom").alerts
    assert alert.truncated is marked


@pytest.mark.parametrize(
    ("name", "status", "age", "why"),
    [
        ("Down", "firing", 0, None),
        ("Down", "firing", 60, "before_connection"),
        ("Down", "resolved", 0, "resolved_first"),
        ("Watchdog", "firing", 0, "benign"),
        ("InfoInhibitor", "firing", 60, "benign"),
    ],
)
def test_what_opens_no_case(name: str, status: str, age: int, why: str | None) -> None:
    connected = datetime(2026, 11, 26, tzinfo=UTC)
    alert = Alert.model_validate(
        {
            "source": "prom",
            "fingerprint": "0" * 16,
            "starts_at": connected - timedelta(seconds=age),
            "status": status,
            "labels": {"alertname": name},
        }
    )
    assert no_case_reason(alert, connected_at=connected) == why
