"""What a child may know, and which addresses are refused."""

import socket

import pytest

from receiver import config, supervisor
from receiver.errors import Refused

OUTER = {
    "PATH": "/bin",
    "AWS_SECRET": "x",
    "SSH_AUTH_SOCK": "/agent",
    "ANTHROPIC_API_KEY": "k",
    "CREDENTIALS_DIRECTORY": "/run/credentials/x",
    "GITMEDIC_CREDENTIALS__SSH__FILE": "/key",
    "GITMEDIC_WEB__HOSTS": '["a"]',
    "GITMEDIC_LISTEN": "127.0.0.1:1",
}


def _told(name, tmp_path):
    settings = config.load(tmp_path, listen="127.0.0.1:2", environment={})
    return supervisor.environment(name, settings, OUTER)


def test_each_child_knows_only_its_own(tmp_path):
    told = {name: _told(name, tmp_path) for name in ("serve", "plan", "execute")}
    for name, known in told.items():
        assert "AWS_SECRET" not in known
        assert "SSH_AUTH_SOCK" not in known
        assert known["PATH"] == "/bin"
        assert known["GITMEDIC_WEB__HOSTS"] == '["a"]'
        assert ("ANTHROPIC_API_KEY" in known) == (name == "plan")
        assert ("GITMEDIC_CREDENTIALS__SSH__FILE" in known) == (name == "execute")
        assert ("CREDENTIALS_DIRECTORY" in known) == (name == "execute")


def test_what_the_command_line_said_reaches_the_children(tmp_path):
    known = _told("serve", tmp_path)
    assert known["GITMEDIC_LISTEN"] == "127.0.0.1:2"
    assert known["GITMEDIC_DATA_DIR"] == str(tmp_path)


def test_an_address_that_cannot_be_bound_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = config.load(tmp_path, listen=f"127.0.0.1:{port}", environment={})
        with pytest.raises(Refused, match="Address already in use") as caught:
            supervisor.check_listen(settings)
        assert "--listen" in caught.value.next_step
    supervisor.check_listen(settings)
    foreign = config.load(tmp_path, listen="192.0.2.1:1", environment={})
    with pytest.raises(Refused, match=r"192\.0\.2\.1"):
        supervisor.check_listen(foreign)
