"""What programs say when something is missing, in words that a person can act on."""

from __future__ import annotations

import pytest

from receiver.adapters.runner.words import explained
from receiver.domain.run import Job, JobHost

JOB = Job.model_validate(
    {
        "run_id": "r", "mode": "run", "playbook_id": "t", "files": {}, "params": {}, "isolation": "bwrap",
        "hosts": (JobHost(name="db1", address="x"), JobHost(name="web1", address="y", user="ops")),
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("web1: Do: Task failed: Missing sudo password", "sudo on web1 asks for a password: name a credential of kind"),
        ("web1: Do: sudo: a password is required", "sudo on web1 asks for a password"),
        ("web1: Do: sudo: a terminal is required to read the password", "sudo on web1 asks for a password"),
        ("web1: Do: Incorrect sudo password", "sudo on web1 does not take the password of credential 'root'"),
        ("web1: Do: Timeout (12s) waiting for privilege escalation prompt", "sudo on web1 did not answer"),
        ("web1: Do: Host key verification failed.", "web1 or a jump host of it shows another host key"),
        ("web1: Do: ops@y: Permission denied (publickey).", "web1 lets ops not in with the key of credential 'ssh'"),
        ("web1 is unreachable: Failed: y port 22 does not answer within 10 s", "nothing answers where web1 should be"),
        ("web1 is unreachable: Failed: [Errno 113] Connect call failed ('y', 22)", "nothing answers where web1 should"),
        ("web1: Do: /bin/sh: 1: /usr/bin/python3: not found", "no Python on web1: install python3"),
        ("web1: Do: A vault password or secret must be specified to decrypt x", "a file of this playbook is encrypted"),
    ],
)
def test_a_known_trouble_says_what_to_do_and_what_was_said(said: str, means: str) -> None:
    why = explained(said, JOB, {"ssh": "ssh_key", "root": "become"})
    assert why.startswith(means) and why.endswith(f"({said})")


@pytest.mark.parametrize(
    "said",
    ["", "web1: Do: the disk is full", "web1: Do: Connection refused", "its process ended (1): python: not found"],
)
def test_anything_else_stays_as_it_was(said: str) -> None:
    assert explained(said, JOB, {}) == said


def test_what_ssh_says_of_its_way_through_the_gate_is_left_out() -> None:
    said = "y port 22 does not answer within 10 s\r\nmm_receive_fd: recvmsg: expected received 1 got 0\r\n"
    why = explained(f"web1 is unreachable: {said}proxy dialer did not pass back a connection", JOB, {})
    assert why.endswith("(web1 is unreachable: y port 22 does not answer within 10 s)")
