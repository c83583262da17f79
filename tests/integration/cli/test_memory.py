"""`gitmedic memory` as a person uses it, beside a running `up`."""

import asyncio
import json
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest

from receiver.adapters.store.embedded import dsn_of
from receiver.adapters.store.memory import PostgresMemory
from receiver.adapters.store.pool import open_pool
from receiver.domain.outcome import Outcome
from tests.contract.test_memory import closed
from tests.integration.cli.processes import Up, environment, free_port, gitmedic, wait_until
from tests.machine import quick_folder

CASES = [closed("HostDiskFull", outcome) for outcome in (Outcome.FIXED, Outcome.FIXED, Outcome.NOT_FIXED)]


@pytest.fixture(scope="module")
def data():
    """One `up` that remembers three cases of one alert, and one that was not verified."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    folder.chmod(0o755)

    async def fill() -> None:
        async with open_pool(dsn_of(folder / "d")) as pool:
            for case in [*CASES, closed("HostDiskFull", Outcome.REJECTED)]:
                await PostgresMemory(pool).remember(case)

    with Up(folder / "d") as up:
        up.ready()
        asyncio.run(fill())
        yield folder / "d"
    shutil.rmtree(folder)


def memory(data: Path, *arguments: str):
    return gitmedic("memory", *arguments, "--data-dir", str(data))


def said(data: Path, *arguments: str) -> dict:
    done = memory(data, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_note_is_added_found_shown_and_forgotten(data):
    done = memory(data, "add", "mail goes first", "--alertname", "MailQueueStuck", "--tag", "mail")
    id = done.stdout.strip()
    assert done.returncode == 0 and f"gitmedic memory forget {id}" in done.stderr
    (listed,) = said(data, "list", "--kind", "note")["items"]
    assert (listed["id"], listed["text"], listed["tags"]) == (id, "mail goes first", ["mail"])
    assert listed["author"].startswith("os:")
    assert [one["id"] for one in said(data, "search", "mail")["items"]] == [id]
    assert said(data, "list", "--tag", "nothing")["items"] == []
    shown = memory(data, "show", id)
    assert "mail goes first" in shown.stdout and "recalled     yes" in shown.stdout
    gone = memory(data, "forget", id, "--reason", "done")
    assert gone.stdout.strip() == f"forgotten: note {id}: mail goes first"
    assert said(data, "history", "MailQueueStuck")["forgotten"][0]["reason"] == "done"
    again = memory(data, "forget", id)
    assert again.returncode == 5 and "nothing is remembered under it" in again.stderr
    assert "next: gitmedic memory list" in again.stderr


def test_history_says_what_became_of_past_cases(data):
    done = memory(data, "history", "HostDiskFull")
    assert done.returncode == 0
    assert "disk_cleanup" in done.stdout and "rejected" in done.stdout
    found = said(data, "history", "HostDiskFull")
    assert [(one["outcome"], one["number"]) for one in found["tally"]] == [
        ("fixed", 2), ("not_fixed", 1), ("rejected", 1),
    ]  # fmt: skip
    assert len(found["items"]) == 4
    empty = memory(data, "history", "Nothing")
    assert empty.returncode == 0 and "no case of it was closed yet" in empty.stderr


def test_search_finds_what_a_plan_would_be_told(data):
    found = said(data, "search", "HostDiskFull")["items"]
    assert {one["outcome"] for one in found} == {"fixed", "not_fixed"} and len(found) == 3
    nothing = memory(data, "search", "printer")
    assert nothing.returncode == 0 and "nothing is near" in nothing.stderr


def test_pages_go_on_where_the_last_one_ended(data):
    first = said(data, "list", "--limit", "2")
    second = said(data, "list", "--limit", "9", "--cursor", first["next"])
    ids = [one["id"] for one in (*first["items"], *second["items"])]
    assert len(ids) == len(set(ids)) >= 4
    assert "more: --cursor" in memory(data, "list", "--limit", "2").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", ""], 2, "it is empty"),
        (["add", "x" * 1001], 2, "more than 1000 characters"),
        (["add", "x", "--tag", "Big Tag"], 2, "tag 'Big Tag' has more than"),
        (["add", "x", *["--tag", "t"] * 11], 2, "11 tags"),
        (["list", "--kind", "thing"], 2, "there is no kind 'thing'"),
        (["list", "--cursor", "x"], 2, "'x' is no cursor"),
        (["show", "77777"], 5, "nothing is remembered under it"),
        (["show", "00000000-0000-0000-0000-000000000000"], 5, "nothing is remembered under it"),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(data, arguments, code, message):
    done = memory(data, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "next: " in done.stderr and "Traceback" not in done.stderr


def test_what_a_note_says_moves_no_cursor(data):
    id = memory(data, "add", "\x1b[2J[red]hidden[/red]\u202e").stdout.strip()
    done = memory(data, "list")
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout and "[red]hidden[/red]" in done.stdout
    memory(data, "forget", id)


def test_doctor_says_how_recall_works(data):
    rows = json.loads(gitmedic("doctor", "--json", "--data-dir", str(data)).stdout)
    (row,) = [one for one in rows["items"] if one["what"] == "memory"]
    assert (row["status"], row["found"]) == ("ok", "recall by words; no embedder is set")


def test_an_embedder_that_is_away_is_a_metric_and_one_line(data):
    more = {
        "GITMEDIC_MEMORY__EMBEDDER__BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
        "GITMEDIC_MEMORY__EMBEDDER__MODEL": "m",
    }
    with Up(data.parent / "other", more=more) as up:
        up.ready()
        told = wait_until(lambda: [row for row in up.log if row.get("event") == "memory.embedder_down"], 30)
        page = wait_until(lambda: _metric(up.port, "gitmedic_memory_embedder_up"), 30)
        assert page.endswith(" 0.0") and len(told) == 1 and "ConnectError" in told[0]["why"]
        done = gitmedic("doctor", "--json", "--data-dir", str(up.data_dir), env=environment(**more))
        (row,) = [one for one in json.loads(done.stdout)["items"] if one["what"] == "memory"]
        assert row["status"] == "warn" and row["found"].startswith("recall by words only")


def _metric(port: int, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    return next((line for line in page.splitlines() if line.startswith(f"{name}{{")), "")
