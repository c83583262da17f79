"""Each hold has a case that it is for, and one that only sounds like it."""

from datetime import UTC, datetime

import pytest

from receiver.domain.alert import Alert
from receiver.domain.fact import Fact
from receiver.domain.holds import HOLDS, Scene, first_hold

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def fact(value: object, *, kind: str = "state", source: str = "probe", trusted: bool = True, note: str = "") -> Fact:
    return Fact(id="f1", kind=kind, value=value, source=source, trusted=trusted, note=note, taken_at=NOW)  # type: ignore[arg-type]


def held(*facts: Fact, name: str = "ServiceDown", status: str = "firing", severity: str = "warning") -> str | None:
    labels = {"alertname": name, "severity": severity, "note": "maintenance window, stopped on purpose"}
    alert = Alert(
        source="p", fingerprint="0" * 16, starts_at=NOW, status=status,  # type: ignore[arg-type]
        labels=labels, annotations={"description": "under maintenance, ISP outage, always firing"},
    )  # fmt: skip
    found = first_hold(Scene(alert=alert, facts=facts, playbooks=frozenset({"web_restart"})))
    return found[0].name if found else None


CASES: dict[str, tuple[list[Fact], str, list[Fact]]] = {
    "heartbeat": ([fact("an always-firing test alert")], "Heartbeat", [fact("heartbeat of the node lost")]),
    "resolved": ([fact("recovered at 02:14")], "ServiceDown", [fact("last week it recovered at 02:14")]),
    "silenced": ([fact(True, kind="alert.silenced")], "ServiceDown", [fact(False, kind="alert.silenced")]),
    "failed_before": (
        [fact(2, kind="history.failed", note="web_restart")], "ServiceDown", [fact(1, kind="history.failed")],
    ),
    "stale_target": ([fact("host oldweb is not in the inventory")], "TargetMissing", [fact("it is in the inventory")]),
    "power": ([fact("ups on battery, mains lost")], "HostDown", [fact("on battery at 01:00, mains restored 01:04")]),
    "upstream": ([fact("ISP outage confirmed, until 06:00")], "WanDown", [fact("link up, no ISP outage")]),
    "maintenance": (
        [fact("maintenance window until 04:00 (ben)")], "HostDown", [fact("outside its maintenance window")],
    ),
    "on_purpose": ([fact("stopped by anna at 01:10")], "ServiceDown", [fact("stopped by the oom killer")]),
    "told_not_to": (
        [fact("logs frozen for the security incident, do not rotate")], "DiskFull", [fact("no open incident")],
    ),
    "hardware": ([fact("fan2 = 0 rpm")], "TempHigh", [fact("fan2 = 900 rpm, no disk failed")]),
    "hands": ([fact("cable unplugged at port 4")], "LinkDown", [fact("port 4 link up")]),
    "access": ([fact("the API token is expired")], "DynDnsFails", [fact("api token ok, account valid")]),
    "quorum": ([fact("quorum lost, 1 of 3 nodes")], "HaError", [fact("quorum ok, 3 of 3 nodes")]),
    "under_way": ([fact("backup running, 64% done")], "GuestLocked", [fact("no backup running, 64% used")]),
    "expected": (
        [fact("restic (nightly backup job, 71% done)")], "HighCpuLoad", [fact("a runaway process since 02:00")],
    ),
}  # fmt: skip


def test_every_row_has_a_case() -> None:
    assert [row.name for row in HOLDS] == list(CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_a_row_holds_for_what_it_is_for_and_not_for_what_sounds_like_it(name: str) -> None:
    told, alert, sounds = CASES[name]
    assert held(*told, name=alert) == name
    assert held(*sounds, name=alert) is None


@pytest.mark.parametrize("name", [name for name in CASES if name != "hardware"])
def test_what_an_outsider_wrote_holds_nothing(name: str) -> None:
    told, alert, _ = CASES[name]
    logged = [one.model_copy(update={"trusted": False, "kind": "log"}) for one in told]
    assert held(*logged, name=alert) is None


def test_of_a_log_only_failing_hardware_counts() -> None:
    assert held(fact("blk_update_request: I/O error, dev sda", kind="log", trusted=False)) == "hardware"


def test_a_resolved_alert_is_over() -> None:
    assert held(status="resolved") == "resolved"
    assert held(name="Watchdog") == "heartbeat"


@pytest.mark.parametrize(
    ("text", "kind", "source", "name"),
    [
        ("web_restart ran 3 times in an hour, all failed", "note", "memory", "failed_before"),
        ("web_restart ran once and failed", "note", "memory", None),
        ("restarted 3 times, each failed", "history", "run history", "failed_before"),
        ("login failed 3 times", "auth", "log server", None),
        ("same alert 28 of 30 nights, always self-resolved", "history", "memory", "expected"),
        ("same alert 28 of 30 nights, never self-resolved", "history", "memory", None),
    ],
)
def test_history_in_words(text: str, kind: str, source: str, name: str | None) -> None:
    assert held(fact(text, kind=kind, source=source)) == name


def test_what_passed_by_itself_often_is_left_alone_unless_it_is_critical_or_was_fixed() -> None:
    often = fact(6, kind="history.self_resolved")
    assert held(often) == "expected"
    assert held(often, severity="critical") is None
    assert held(often, fact(1, kind="history.fixed")) is None
