"""The pure parts of commands: parameters, test alerts, proposed jobs, who may speak at a terminal."""

import contextlib
import io
import os
import pty
import subprocess
import sys

import pytest

from receiver import starter
from receiver.cli.alerts import payload
from receiver.cli.cases import read_params
from receiver.cli.command import counting, working
from receiver.cli.people import at_terminal, named, typed
from receiver.config import load
from receiver.doctor import proposed_jobs
from receiver.domain.alert import read_delivery
from receiver.domain.policyfile import Person, Policy
from receiver.errors import Refused

SCHEMA = {"properties": {"n": {"type": "integer"}, "all": {"type": "boolean"}, "host": {"type": "string"}}}


def test_parameters_are_typed_by_the_schema_and_text_stays_text():
    assert read_params(["n=3", "all=true", "host=3", "x=[1]"], SCHEMA) == {"n": 3, "all": True, "host": "3", "x": "[1]"}
    assert read_params(["n=three", "host=a=b"], SCHEMA) == {"n": "three", "host": "a=b"}
    with pytest.raises(Refused, match="expected NAME=VALUE"):
        read_params(["n"], SCHEMA)


@pytest.mark.parametrize("resolved", [False, True])
def test_a_test_alert_is_readable(resolved):
    import json

    body = json.dumps(payload("Mine", ["host=web1"], resolved=resolved)).encode()
    delivery = read_delivery(body, source="test")
    assert delivery.unreadable == ()
    [alert] = delivery.alerts
    assert (alert.name, alert.labels["host"]) == ("Mine", "web1")
    assert alert.status == ("resolved" if resolved else "firing")


def test_jobs_that_repeat_others_words_are_never_proposed():
    jobs = ["node", "pushgateway", "federate", "cadvisor", "blackbox-http", "node-federation", "mine"]
    assert proposed_jobs(jobs) == {"node": "self", "cadvisor": "guests", "blackbox-http": "any"}


@pytest.fixture
def terminal(monkeypatch):
    """A standard input and error that say they are terminals; gives what is typed."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def typing(text: str):
        monkeypatch.setattr(sys, "stdin", Terminal(text))
        monkeypatch.setattr(sys, "stderr", Terminal())

    monkeypatch.setattr(starter, "os_user", lambda: "ada")
    return typing


ADA = Person(name="Ada", os=("ada",), session=("ada",))


def test_a_word_needs_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(Refused) as caught:
        at_terminal(Policy(people=(ADA,)), load(tmp_path, environment={}), "approving")
    assert caught.value.reason == "not_a_terminal"


def test_the_person_is_found_by_their_os_name_only(tmp_path, terminal):
    terminal("")
    settings = load(tmp_path, environment={})
    assert at_terminal(Policy(people=(ADA,)), settings, "approving") == ADA
    with pytest.raises(Refused, match="'ada' is nobody"):
        at_terminal(Policy(people=(Person(name="ada", session=("ada",)),)), settings, "approving")


def test_a_terminal_proves_nobody_where_runs_are_not_isolated(tmp_path, terminal):
    terminal("")
    policy = Policy(people=(ADA,), isolation_none_allowed=("home",))
    settings = load(tmp_path, environment={})
    with pytest.raises(Refused) as caught:
        at_terminal(policy, settings, "approving")
    assert caught.value.reason == "not_isolated"
    assert at_terminal(policy, settings.model_copy(update={"demo": True}), "approving") == ADA


def test_only_the_exact_digest_is_a_yes(terminal):
    terminal("0123456789ab\n")
    typed("0123456789ab", "approving")
    for wrong in ("", "y\n", "0123456789a\n", "0123456789AB\n"):
        terminal(wrong)
        with pytest.raises(Refused, match="nothing was done"):
            typed("0123456789ab", "approving")


def test_a_person_by_name_or_the_one_who_asks(terminal):
    policy = Policy(people=(ADA, Person(name="Bob")))
    assert named(policy, "Bob").name == "Bob"
    assert named(policy, "") == ADA
    with pytest.raises(Refused, match="`people` has Ada, Bob"):
        named(policy, "ada")  # an OS name is no name of a person


def test_a_sign_of_life_is_for_terminals_only(capsys):
    with working("taking long"):
        pass
    assert capsys.readouterr().err == ""


def test_a_bar_is_for_terminals_only(capsys):
    with counting("asking", 2) as done:
        done()
    assert capsys.readouterr().err == ""


def test_a_bar_shows_how_much_is_done():
    code = "from receiver.cli.command import counting\nwith counting('asking', 2) as done:\n done()\n done()\n"
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while part := os.read(ours, 4096):
                said += part
    os.close(ours)
    assert process.returncode == 0 and b"asking" in said and b"2/2" in said


@pytest.mark.parametrize(("answer", "refused"), [("yes\n", False), ("y\n", True), ("\n", True), ("", True)])
def test_a_host_key_is_believed_for_the_word_yes_alone(terminal, answer, refused):
    from receiver.adapters.runner.hostkeys import HostKey
    from receiver.cli.hosts import _ask
    from receiver.domain.run import Hop

    terminal(answer)
    keys = [HostKey("ssh-ed25519", "QUJD")]
    with pytest.raises(Refused, match="nothing was believed") if refused else contextlib.nullcontext():
        _ask(Hop(name="web1", address="192.0.2.1"), keys, "trusting web1")
    assert keys[0].fingerprint in sys.stderr.getvalue()
