"""The suite itself, played small: it measures what it says and loses nothing. No second is judged here."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bench import __main__ as suite
from bench import bodies, executor, lists, memory, opening, peer, propose, start, webhook
from bench.client import Spec, post
from bench.report import Measure, Report
from receiver.domain.alert import read_delivery


def ratio(*rounds: float) -> Measure:
    return Measure("group", "name", "ratio", rounds, ">=", 0.75)


def test_a_verdict_needs_rounds_that_agree() -> None:
    assert ratio(0.8, 0.82, 0.9).verdict == "met"
    assert ratio(0.6, 0.62, 0.7).verdict == "missed"
    assert ratio(0.8, 1.2, 1.0).verdict == "spread too wide"
    assert Measure("group", "name", "ms", [10, 30, 20], "<", 50).verdict == "met"
    assert Measure("group", "name", "ms", [10, 60, 20], "<", 50).verdict == "spread too wide"
    assert Measure("group", "name", "ms", [10, 60, 20]).verdict == ""
    assert Measure("group", "name", "ms", [], "<", 50).verdict == "not to be had"


def test_the_page_names_machine_and_measures() -> None:
    report = Report({"cores": "2"}, [ratio(0.8)], {"group": "1 round"})
    text = report.markdown("# Old\n\n## other\n\nkept\n\n## group\n\ngone\n")
    assert "## other\n\nkept\n" in text and "gone" not in text and "## group\n\n1 round\n" in text
    assert "- cores: 2" in text and "| name | 0.8 | ratio |" in text
    assert json.loads(json.dumps(report.plain()))["measures"][0]["verdict"] == "met"


@pytest.mark.parametrize("alerts", webhook.ALERTS)
def test_bodies_are_read_whole_and_share_no_alert(alerts: int) -> None:
    body = bodies.maker(alerts)
    read = [read_delivery(body(number), source="bench") for number in (0, 1)]
    assert [len(one.alerts) for one in read] == [alerts, alerts]
    assert all(one.unreadable == () for one in read)
    assert len({alert.fingerprint for one in read for alert in one.alerts}) == 2 * alerts


@pytest.mark.anyio
async def test_the_webhook_answers_what_it_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "CONNECTIONS", (16,))
    found = {one.name: one for one in [one async for one in webhook.measure(1, 0.3)]}
    for alerts in webhook.ALERTS:
        what = f"{alerts} a post, 16 connections"
        assert found[f"{what}: alerts/s"].median > 0
        assert found[f"{what}: bare feed, alerts/s"].median > 0
        assert found[f"{what}: refused"].median == 0
        assert found[f"{what}: answered 200 and not stored"].median == 0
    assert len(found) == 2 * 11 + 1


@pytest.mark.anyio
async def test_pages_and_proposals(tmp_path: Path) -> None:
    pages = [one async for one in lists.measure(1, 0.0, cases=300, events=600)]
    assert len(pages) == 22 and all(one.median > 0 for one in pages)
    (size,) = [one for one in pages if one.name == "a case with 600 run events: size"]
    assert size.median > 50  # the log is on the page
    sizes = [one async for one in propose.measure(1, 0.0, sizes=(5, 50), proposals=2)]
    assert [one.name for one in sizes if one.unit == "ratio"] == [
        *(f"{what} at 50 to that at 5" for what in propose.WHAT),
        "a proposal to a forge beside 1,000 to that beside 10",
    ]


@pytest.mark.anyio
async def test_stored_alerts_become_cases() -> None:
    rate, slower = [one async for one in opening.measure(1, 0.0, alerts=1000)]
    assert rate.median > 0 and slower.median > 0


@pytest.mark.anyio
async def test_a_peer_that_cannot_be_had_gets_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # no Java
    (one,) = [one async for one in peer.measure(1, 0.1)]
    assert (one.verdict, one.note) == ("not to be had", "missing: Java 17")
    assert peer.NAME not in suite.USUAL and len(suite.USUAL) == len(suite.GROUPS) - 1
    assert "| ansible-rulebook | – |" in Report({}, [one]).markdown()


def test_what_was_acknowledged_is_known_by_its_number() -> None:
    class Accepting(BaseHTTPRequestHandler):
        """202 for the first two, then 500."""

        protocol_version = "HTTP/1.1"
        answers = iter((202, 202, 500))

        def do_POST(self) -> None:
            """One request."""
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(next(self.answers))
            self.send_header("Content-Length", "0")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Accepting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = post(Spec("127.0.0.1", server.server_port, "/", "", 1, 1, posts=3, first=7, is_listing=True))
        server.shutdown()
    assert (found.numbers, found.acknowledged, found.refused) == ([7, 8], 2, 1)


@pytest.mark.anyio
async def test_a_recall_at_each_size() -> None:
    found = {
        one.name: one for one in [one async for one in memory.measure(1, 0, sizes=(300, 600, 900), with_vectors=600)]
    }
    assert all(one.median > 0 for one in found.values())
    assert {one.name for one in found.values() if one.sign} == {
        "600 rows, by words: p99", "600 rows, with vectors: p99", "p99 at 900 rows to that at 600",
    }  # fmt: skip


@pytest.mark.anyio
async def test_two_executors_many_events_and_a_cancel() -> None:
    small = executor.measure(1, 0.0, runs=2, run_seconds=0.1, events=500, loops=20)
    found = {one.name: one for one in [one async for one in small]}
    assert all(one.median > 0 for one in found.values())
    assert {one.name: (one.sign, one.target) for one in found.values() if one.sign} == {
        "2 runs of 0.1 s, 1 at a time in each: two executors to one": (">=", 1.8),
        "500 events stored a second": (">=", 2_000),
        "a run with 20 events: stored to not stored": ("<=", 1.1),
        "cancelled, and nothing is left": ("<", 6),
    }


def test_growth_is_a_slope() -> None:
    assert start.slope([100, 110, 120, 130]) == pytest.approx(10)


def test_every_group_is_in_the_docs() -> None:
    text = (place_root() / "docs" / "speed.md").read_text()
    assert [name for name in suite.GROUPS if f"`{name}`" not in text] == []


def place_root() -> Path:
    return Path(suite.__file__).parents[1]
