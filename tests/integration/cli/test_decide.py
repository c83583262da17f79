"""A person's whole way at the terminal: change, accept, dispatch, approve, watch; with real git and real Ansible."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from receiver.starter import os_user
from tests.integration.cli.processes import Up, environment, gitmedic, wait_until
from tests.machine import quick_folder

CATALOG = """\
schema: 1
title: Write a word
use_when: a test asks for it
not_when: nobody asks
effect: change
risk: low
handles: []
params:
  type: object
  additionalProperties: false
  required: [host, word]
  properties:
    host: {type: string, x-kind: host}
    word: {type: string, enum: [one, two]}
targets: {param: host, max_hosts: 1, serial: 1}
locks: [host]
reversible: yes
"""
PLAYBOOK = """\
- name: Write a word
  hosts: targets
  gather_facts: false
  tasks:
    - name: Write it
      ansible.builtin.copy:
        dest: %s
        content: "{{ gm_word }}"
        mode: "0600"
"""
HOSTS = """\
all:
  hosts:
    here:
      ansible_connection: local
      gitmedic:
        site: home
        local: {writable: ["%s"]}
"""


def _terminal(data_dir: Path, *arguments: str, answer: str | None = None) -> tuple[int, str]:
    """A command at a terminal; `answer` replaces `{digest}` by the one it asks for."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", *arguments, "--data-dir", str(data_dir)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment(),
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                said.extend(part)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    if answer is not None:
        asked = wait_until(lambda: re.search(rb"type ([0-9a-f]{12}) to go on", bytes(said)) or process.poll(), 30)
        if isinstance(asked, re.Match):
            os.write(ours, answer.replace("{digest}", asked[1].decode()).encode() + b"\n")
    code = process.wait(60)
    reader.join(10)
    os.close(ours)
    return code, said.decode()


def _git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", tree, "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def office():
    """A running gitmedic whose work tree has one more playbook, pushed and not yet in force."""
    place = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    place.chmod(0o755)
    data, tree, out = place / "d", place / "tree", place / "out"
    out.mkdir()
    assert gitmedic("init", str(tree), "--data-dir", str(data)).returncode == 0
    with (data / "gitmedic.toml").open("a") as file:
        file.write("\n")
    text = (data / "gitmedic.toml").read_text()
    # a demo's own machine: without a sandbox a terminal proves nobody, except there
    (data / "gitmedic.toml").write_text("demo = true\n" + text)
    folder = tree / "playbooks" / "test" / "word"
    folder.mkdir(parents=True)
    (folder / "catalog.yml").write_text(CATALOG)
    (folder / "playbook.yml").write_text(PLAYBOOK % (out / "word"))
    (folder / "README.md").write_text("# Write a word\n")
    (tree / "inventory" / "hosts.yml").write_text(HOSTS % out)
    policy = (tree / "policy.yml").read_text().replace("mode: observe", "mode: propose", 1)
    (tree / "policy.yml").write_text(policy.replace("none_allowed: []", "none_allowed: [home]"))
    _git(tree, "add", "-A")
    _git(tree, "commit", "-qm", "A word")
    _git(tree, "push", "-q", "gitmedic", "HEAD:main")
    with Up(data) as up:
        up.ready()
        yield up, tree, out
    shutil.rmtree(place)


def _json(data_dir: Path, *arguments: str) -> dict:
    done = gitmedic(*arguments, "--json", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_whole_way(office):
    up, tree, out = office
    data = up.data_dir
    _accepted(data, tree)

    dispatched = _json(data, "dispatch", "test_word", "-e", "host=here", "-e", "word=two", "--reason", "a test")
    case = dispatched["case"]
    assert wait_until(lambda: _state(data, case) in ("proposed", "closed"), 60)
    shown = _json(data, "case", "show", case)
    assert shown["state"] == "proposed", shown["why"]
    assert not (out / "word").exists()

    _no_other_word_is_an_approval(data, case)
    code, said = _terminal(data, "approve", case, answer="{digest}")
    assert code == 0, said
    for word in ("test_word, risk low", "here", "a test", shown["proposal"]["url"]):
        assert word in said
    wait_until(lambda: _state(data, case) in ("executed", "verified", "closed"), 60)
    ended = _json(data, "case", "show", case)
    assert (out / "word").read_text() == "two", ended["why"]
    assert ended["approval"]["approved_by"] == [os_user()]
    assert ended["run"]["status"] == "successful"
    # no alert asked for it, so what it achieved is looked at for a while
    watched = gitmedic("case", "watch", case, "--timeout", "1", "--data-dir", str(data))
    assert watched.returncode == 124
    assert "in the time that was given" in watched.stderr

    logged = gitmedic("run", "logs", ended["run"]["id"], "--json", "--data-dir", str(data))
    assert any(json.loads(row)["task"] == "Write it" for row in logged.stdout.splitlines())
    assert _json(data, "run", "show", ended["run"]["id"])["stats"]["here"]["changed"] == 1
    again, said = _terminal(data, "approve", case, answer="{digest}")
    assert again == 5
    assert "no open proposal" in said


def _accepted(data: Path, tree: Path) -> None:
    shown = _json(data, "revision", "show")
    assert [one["subject"] for one in shown["pending"]] == ["A word"]
    refused = gitmedic("dispatch", "test_word", "-e", "host=here", "-e", "word=one", "--data-dir", str(data))
    assert refused.returncode == 2
    code, said = _terminal(data, "revision", "accept", answer="yes")
    assert code == 5
    assert "nothing was done" in said
    assert _json(data, "revision", "show")["adopted"] == shown["adopted"]
    assert "test/word/catalog.yml" in _json(data, "revision", "diff")["diff"]
    code, said = _terminal(data, "revision", "accept", answer="{digest}")
    assert code == 0, said
    assert _json(data, "revision", "show")["adopted"] == _git(tree, "rev-parse", "HEAD").strip()


def _no_other_word_is_an_approval(data: Path, case: str) -> None:
    for answer in ("yes", "", "000000000000"):
        code, said = _terminal(data, "approve", case, answer=answer)
        assert code == 5
        assert "nothing was done" in said
    piped = gitmedic("approve", case, "--data-dir", str(data), stdin=None, input="x\n")
    assert piped.returncode == 2
    assert _state(data, case) == "proposed"


def _state(data: Path, case: str) -> str:
    time.sleep(0.2)
    return _json(data, "case", "show", case)["state"]


def test_a_rejected_proposal_never_runs(office):
    up, _, out = office
    data = up.data_dir
    (out / "word").unlink(missing_ok=True)
    if _json(data, "revision", "show")["pending"]:  # another process of the tests may have the one that accepts it
        assert _terminal(data, "revision", "accept", answer="{digest}")[0] == 0
    case = _json(data, "dispatch", "test_word", "-e", "host=here", "-e", "word=one")["case"]
    wait_until(lambda: _state(data, case) in ("proposed", "closed"), 60)
    code, said = _terminal(data, "reject", case, "--why", "not today")
    assert code == 0, said
    watched = gitmedic("case", "watch", case, "--timeout", "60", "--data-dir", str(data))
    assert watched.returncode == 5, watched.stdout
    assert _json(data, "case", "show", case)["outcome"] == "rejected"
    assert not (out / "word").exists()
