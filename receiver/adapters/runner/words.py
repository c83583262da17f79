"""What Ansible, ssh and sudo say when something is missing, in words that a person can act on.

Decides what is most likely wrong by the texts of OpenSSH, sudo and ansible-core, and says what to do about it. What it
does not know stays as it was.
"""

from __future__ import annotations

import re

from receiver.domain.run import Job
from receiver.errors import GitmedicError, Refused

#: what is said, and what it means; `{host}` and `{user}` are the target's
_KNOWN = (
    (
        r"Missing (sudo|become) password|sudo: a password is required|sudo: a terminal is required",
        "sudo on {host} asks for a password: name a credential of kind become in the playbook's catalog.yml, "
        "and configure it as [credentials.<name>] in the executor's gitmedic.toml",
    ),
    (
        r"Incorrect sudo password|Sorry, try again|Incorrect .{1,20} password",
        "sudo on {host} does not take the password of {become}: look at its origin",
    ),
    (
        r"[Tt]imeout \(\d+s\) waiting for privilege escalation prompt",
        "sudo on {host} did not answer: does it ask for something else than a password?",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No \S+ host key is known",
        "{host} or a jump host of it shows another host key than the known one: find out why, then "
        "gitmedic hosts trust {host} --replace",
    ),
    (
        r"Permission denied \((publickey|gssapi|password|keyboard)",
        "{host} lets {user} not in with the key of {ssh}: is its public key in authorized_keys there, "
        "and on every jump host?",
    ),
    (
        # a task that could not reach something from the host says the same words
        r" is unreachable: [\s\S]*(does not answer within|Connect call failed|Connection (timed out|refused)"
        r"|No route to host|not responding)",
        "nothing answers where {host} should be: is it on, and is ansible_host (and its jump hosts) in the inventory "
        "right?",
    ),
    (
        r"/bin/sh: \d*:? ?\S*python\S*: (not found|No such file)|python\S*: (not found|No such file or directory)"
        r"|[Nn]o python interpreters found|module interpreter .{0,80}not found|env: .?python",
        "no Python on {host}: install python3 there, or set ansible_python_interpreter of that host in the inventory",
    ),
    (
        r"no vault secrets (were )?found|Decryption failed|vault password or secret must be specified",
        "a file of this playbook is encrypted by ansible-vault, and none of its credentials opens it: name one of kind "
        "vault in catalog.yml, with the vault_id that the file carries",
    ),
)  # fmt: skip

#: what ssh adds to the gate's own words
_NOISE = re.compile(r"\s*(mm_receive_fd: [^\r\n]*|proxy dialer did not pass back a connection)")


def explained(why: str, job: Job, kinds: dict[str, str]) -> str:
    """The same reason, with what to do in front of it; `kinds` are the run's credentials by name."""
    names = {host.name: host for host in job.hosts}
    host = names.get(re.split(r": | is unreachable: ", why, maxsplit=1)[0])
    if host is None:  # about the run itself, not about a host
        return why
    why = _NOISE.sub("", why)
    said = {
        "host": host.name,
        "user": host.user or "its user",
        "become": _credential(kinds, "become"),
        "ssh": _credential(kinds, "ssh_key", "ssh_ca"),
    }
    for pattern, meaning in _KNOWN:
        if re.search(pattern, why):
            return f"{meaning.format(**said)} ({why})"
    return why


def with_next_step(error: GitmedicError) -> str:
    """Why a run did not begin, and what to do about it."""
    step = error.next_step if isinstance(error, Refused) else ""
    return f"{error.message}; next: {step}" if step else error.message


def _credential(kinds: dict[str, str], *wanted: str) -> str:
    found = next((name for name, kind in kinds.items() if kind in wanted), None)
    return f"credential {found!r}" if found else "any credential"
