"""Ways out of a run, tried by real runs: each works without isolation, and none on a rung that claims to stop it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner import escape, ladder
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, JobHost, RunEvent, Rung, RunResult
from receiver.identity import new_id
from tests.machine import landlock, required

pytestmark = pytest.mark.anyio
PLAY = """
- name: Escape
  hosts: targets
  gather_facts: false
  tasks:
    - name: Try
      ansible.builtin.command:
        argv: ["{{ ansible_python_interpreter }}", "-I", "-S", "{{ gm_program }}", "{{ gm_place }}"]
"""
IS_ROOT = os.geteuid() == 0
#: the attempts that need root even where nothing shuts a run in
AS_ROOT = {"shadow", "keys", "system", "mount", "module", "device", "privilege"}
OPEN: dict[Rung, set[str]] = {"bwrap": {"network", "abstract_socket"}, "landlock": {"network"}}


class Place:
    """A runner, and decoys outside of its runs."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.runner = AnsibleRunner(RunnerSettings(), data_dir=base / "data")
        (base / "decoys").mkdir()
        self.said: list[RunEvent] = []

    async def run(self, rung: Rung, given: dict[str, Any], names: Sequence[str], **more: Any) -> RunResult:
        program = str(Path(escape.__file__))
        params = {"program": program, "place": json.dumps({**given, "attempts": list(names)})}
        values: dict[str, Any] = {
            "run_id": new_id(), "mode": "run", "playbook_id": "t", "files": {"playbook.yml": PLAY.encode()},
            "hosts": (JobHost(name="here", connection="local"),), "params": params, "isolation": rung,
            "timeout_seconds": 60,
        }  # fmt: skip

        async def record(events: Sequence[RunEvent]) -> None:
            self.said.extend(events)

        async def never() -> bool:
            return False

        return await self.runner.run(Job.model_validate(values | more), record, never)

    async def attempts(self, rung: Rung, names: Sequence[str], **more: Any) -> tuple[set[str], dict[str, Any]]:
        """Those that worked, as seen from inside, and the decoys as they are afterwards, seen from outside."""
        with ladder.decoys(self.base / "decoys") as given:
            given |= {"own": str(self.base / "decoys"), "setuid": str(self.base / "decoys" / "cat"), "sleep": unique()}
            shutil.copy("/bin/cat", given["setuid"])
            Path(given["setuid"]).chmod(0o4755)
            result = await self.run(rung, given, names, **more)
            assert result.status == "successful", result
            (line,) = [event for event in self.said if event.task == "Try" and event.kind == "changed"]
            made = {key for key in ("outside", "program") if Path(given[key]).exists()}
            made |= {"system"} if Path("/usr/local", given["name"]).exists() else set()
            left = Path("/tmp", given["name"])
            made |= {"temporary"} if left.exists() else set()
            left.unlink(missing_ok=True)
            return set(json.loads(line.text)), {"made": made, "stays": running("sleep", given["sleep"])}


def unique() -> str:
    return str(100_000 + time.time_ns() % 1_000_000)


def running(*words: str) -> list[int]:
    """Processes of this machine with exactly this command line."""
    wanted = b"\0".join(word.encode() for word in words) + b"\0"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += [int(entry.name)] if (entry / "cmdline").read_bytes() == wanted else []
            except OSError:
                continue
    return found


def not_here() -> set[str]:
    """What has nothing to aim at: a kernel without modules, a home without a file, a program that is another's."""
    found = set() if Path("/proc/modules").exists() else {"module"}
    found |= set() if ladder._home() else {"home"}
    found |= set() if Path("/etc/ssl/private").is_dir() else {"keys"}
    return found | (set() if os.access(Path(escape.__file__).parent, os.W_OK) else {"program"})


def has(rung: Rung) -> None:
    """Skips where the machine has no such rung; in CI none is missing."""
    if rung == "landlock":
        landlock()
    if rung in ("netns", "bwrap"):
        required("bwrap")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_every_attempt_works_without_isolation(place: Place) -> None:
    worked, seen = await place.attempts("none", list(escape.ATTEMPTS))
    wanted = set(escape.ATTEMPTS) - not_here() - (set() if IS_ROOT else AS_ROOT)
    assert wanted - worked == set()
    assert seen["made"] == {"outside", "program", "system", "temporary"} & wanted | {"outside", "temporary"}


@pytest.mark.parametrize("rung", ["bwrap", "landlock"])
async def test_what_a_rung_stops(place: Place, rung: Rung) -> None:
    has(rung)
    worked, seen = await place.attempts(rung, list(escape.ATTEMPTS))
    # what was left in the run's own /tmp, and the process that stayed, are gone: seen from outside
    open_to = OPEN[rung] if IS_ROOT or rung == "bwrap" else ladder._MAY_WORK[rung]
    assert worked - {"temporary", "daemon"} <= open_to
    assert OPEN[rung] <= worked, "what a rung does not stop is said: the page must not promise less than there is"
    assert seen == {"made": set(), "stays": []}


@pytest.mark.parametrize("rung", ["bwrap", "landlock"])
async def test_a_run_that_declares_a_path_gets_that_path_and_no_more(place: Place, tmp_path: Path, rung: Rung) -> None:
    has(rung)
    (tmp_path / "declared").mkdir()
    host = JobHost(name="here", connection="local", writable=(str(tmp_path / "declared"),))
    worked, seen = await place.attempts(rung, list(escape.ATTEMPTS), hosts=(host,))
    open_to = OPEN[rung] if IS_ROOT or rung == "bwrap" else ladder._MAY_WORK[rung]
    assert worked - {"temporary", "daemon"} <= open_to
    assert seen == {"made": set(), "stays": []}


OWNERS = """
import json, os, sys
from pathlib import Path
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
place = Path(json.loads(sys.argv[1])["declared"])
print(json.dumps({
    "ours": tried(lambda: (place / "ours").write_text("changed")),
    "new": tried(lambda: (place / "new").write_text("made")),
    "read theirs": tried((place / "theirs").read_text),
    "write theirs": tried(lambda: (place / "theirs").write_text("changed")),
    "give away": tried(lambda: os.chown(place / "ours", 1000, 1000)),
    "beside": tried(lambda: place.with_name("beside").write_text("changed")),
}))
"""


@pytest.mark.skipif(not IS_ROOT, reason="gives a file to another user")
@pytest.mark.parametrize("rung", ["bwrap", "landlock"])
async def test_a_run_that_stays_root_changes_what_is_roots_in_the_declared_path(
    place: Place, tmp_path: Path, rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/howto/isolation.md says of declared paths."""
    has(rung)
    declared = tmp_path / "declared"
    declared.mkdir()
    for file in (declared / "ours", declared / "theirs", tmp_path / "beside"):
        file.write_text("as it was")
        file.chmod(0o600)
    os.chown(declared / "theirs", 1000, 1000)
    program = declared / "program.py"
    program.write_text(OWNERS)
    monkeypatch.setattr(escape, "__file__", str(program))
    host = JobHost(name="here", connection="local", writable=(str(declared),))
    result = await place.run(rung, {"declared": str(declared)}, [], hosts=(host,))
    assert result.status == "successful", result
    (line,) = [event for event in place.said if event.task == "Try" and event.kind == "changed"]
    said = json.loads(line.text)
    assert (said.pop("ours"), said.pop("new")) == ("done", "done")
    del said["beside"]  # where it thinks it wrote may be a directory of its own; the file is looked at from outside
    assert len(said) == 3 and "done" not in said.values(), said
    assert (declared / "ours").read_text() == "changed" and (declared / "new").stat().st_uid == 0
    assert (declared / "theirs").read_text() == "as it was" == (tmp_path / "beside").read_text()


@pytest.mark.parametrize("rung", ["netns", "bwrap", "landlock"])
def test_the_probe_agrees(tmp_path: Path, rung: Rung) -> None:
    has(rung)
    kind = ladder.kinds()[0] if rung == "landlock" else "same"
    open_to, why = ladder.probe(rung, kind, "bwrap", tmp_path)
    assert (set(open_to), why) == (OPEN.get(rung, set()), "") or (not IS_ROOT and not why)


def test_a_rung_with_a_hole_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has("bwrap")
    monkeypatch.setitem(ladder._MAY_WORK, "bwrap", {"abstract_socket"})
    open_to, why = ladder.probe("bwrap", "same", "bwrap", tmp_path)
    assert open_to == () and "it did not stop a run that tried to connect to an address" in why


def test_the_strongest_rung_that_holds_is_taken_and_the_others_are_explained(tmp_path: Path) -> None:
    has("netns")
    found = ladder.find(RunnerSettings(), tmp_path)
    assert (found.rung, found.open, found.why_not) == ("netns", (), {})
    assert found.words == (f"netns. {found.groups}; they are looked at twice a second" if found.groups else "netns")
    has("landlock")
    lower = ladder.find(RunnerSettings(bwrap="no-such-program"), tmp_path)
    assert lower.rung == "landlock"
    assert "not netns: no-such-program is not installed: apt install bubblewrap" in lower.words
    assert "does not stop: " in lower.words and "connect to an address" in lower.words
    none = ladder.find(RunnerSettings(bwrap="no-such-program", rung="netns"), tmp_path)
    assert none.rung == "none" and none.words.startswith("none. stops nothing. not netns: ")


def test_the_page_says_what_the_attempts_found() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "isolation.md").read_text()
    table = page.split("## What each stops")[1].split("## ")[0]
    rows = [
        line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ") and "tries" not in line
    ]
    said = {name: dict(zip(("netns", "bwrap", "landlock"), words, strict=True)) for name, *words in rows}
    assert set(said) == {ladder.first_words(name) for name in escape.ATTEMPTS}
    for name in escape.ATTEMPTS:
        for rung, word in said[ladder.first_words(name)].items():
            is_open = name in OPEN.get(rung, set())  # type: ignore[call-overload]
            assert word == ("not stopped" if is_open else "stopped"), (name, rung)


BESIDE = {
    "ansible.cfg": "[defaults]\naction_plugins = ./action_plugins\n",
    "action_plugins/debug.py": "raise SystemExit('in')",
    "library/ping.py": "raise SystemExit('in')",
    "collections/ansible_collections/a/b/plugins/modules/c.py": "",
    "filter_plugins/x.py": "",
    "roles/base/library/ping.py": "raise SystemExit('in')",
    "tasks/../library/ping.py": "raise SystemExit('in')",
}


@pytest.mark.parametrize("name", BESIDE)
async def test_what_lies_beside_a_playbook_is_refused(place: Place, name: str) -> None:
    files = {"playbook.yml": PLAY.encode(), name: BESIDE[name].encode()}
    result = await place.run("none", {}, [], files=files)
    assert result.status == "failed" and f"{name!r} may not enter a run" in result.why, result
    assert place.said == []
