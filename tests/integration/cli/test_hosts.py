"""Hosts at the command line and by the API: proposed, accepted by a person, trusted after a comparison, taken out."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_sshd import SshHost
from tests.integration.cli.processes import Up, gitmedic
from tests.integration.cli.test_decide import _terminal as terminal
from tests.machine import quick_folder


@pytest.fixture
def up() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    folder.chmod(0o755)
    made = gitmedic("init", str(folder / "tree"), "--data-dir", str(folder / "d"))
    assert made.returncode == 0, made.stderr
    with Up(folder / "d") as running:
        yield running.ready(120)
    shutil.rmtree(folder)


def run(up: Up, *words: str, code: int = 0) -> dict[str, Any]:
    done = gitmedic(*words, "--json", "--data-dir", str(up.data_dir))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else {"said": done.stderr}


def call(up: Up, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    token = run(up, "token", "create", "--scope", "dispatch")["token"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{up.port}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_host_is_proposed_accepted_trusted_and_taken_out(up: Up, ssh_hosts: Callable[[str, str], SshHost]) -> None:
    one, two = ssh_hosts("one", ""), ssh_hosts("two", "")
    said = ("--address", "127.0.0.1", "--port", str(one.port), "--user", one.user)
    run(up, "hosts", "add", "one", *said)
    asked = {"name": "two", "address": "127.0.0.1", "port": two.port, "user": two.user, "jump": []}
    assert call(up, "POST", "/api/hosts", asked)["path"] == "inventory/hosts/two.yml"
    # nothing is in force before a person's word
    assert run(up, "hosts", "list")["items"] == [] == call(up, "GET", "/api/hosts")["items"]
    assert len(run(up, "revision", "show")["pending"]) == 2
    code, words = terminal(up.data_dir, "revision", "accept", answer="{digest}")
    assert code == 0, words
    items = run(up, "hosts", "list")["items"]
    assert [(item["name"], item["port"], item["keys"]) for item in items] == [
        ("one", one.port, []),
        ("two", two.port, []),
    ]
    # a key is believed when it was compared, and one key is one host's
    assert "this is no terminal" in run(up, "hosts", "trust", "one", code=2)["said"]
    wrong = run(up, "hosts", "trust", "one", "--fingerprint", "SHA256:AAAA", code=5)["said"]
    assert "no key of it has the fingerprint 'SHA256:AAAA'" in wrong
    shown = wrong.split("it shows ")[1].split(" ")[0]
    assert run(up, "hosts", "trust", "one", "--fingerprint", shown)["keys"][0]["fingerprint"] == shown
    assert (up.data_dir / "known_hosts").read_text() == one.known_line + "\n"
    lines = up.data_dir.parent / "lines"
    lines.write_text(f"x {one.host_key}\n")
    shared = run(up, "hosts", "trust", "two", "--from", str(lines), "--yes", code=5)["said"]
    assert "it has the host key of one" in shared
    run(up, "hosts", "trust", "two", "--yes")
    assert [bool(item["keys"]) for item in run(up, "hosts", "list")["items"]] == [True, True]
    # taking one out is a patch that people apply
    patch = run(up, "hosts", "remove", "two")["patch"]
    assert call(up, "DELETE", "/api/hosts/two")["patch"] == patch
    tree = up.data_dir.parent / "tree"
    subprocess.run(["git", "-C", str(tree), "pull", "-q", "gitmedic", "main"], check=True)
    subprocess.run(["git", "-C", str(tree), "apply"], input=patch.encode(), check=True)
    assert not (tree / "inventory" / "hosts" / "two.yml").exists() and (tree / "inventory/hosts/one.yml").exists()
    assert "is not in the inventory" in run(up, "hosts", "trust", "three", code=2)["said"]
