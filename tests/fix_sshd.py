"""Real sshd processes on loopback ports with host keys of their own, run as an unprivileged user."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machine import free_port, required

#: as root, sshd wants /run/sshd and an account of its own; it gets both in a mount namespace of its own, where
#: /run and /etc/passwd are ours and the machine's stay as they are
_TESTER = "gitmedic-tester"
_NAMESPACE = """
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount --bind "$1" /etc/passwd && shift && exec "$@"
"""
_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {home}/host_key
PidFile {home}/pid
AuthorizedKeysFile {home}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowAgentForwarding yes
Subsystem sftp internal-sftp
SetEnv HOME={home} PATH={home}/bin:/usr/local/bin:/usr/bin:/bin
LogLevel VERBOSE
"""


@dataclass
class SshHost:
    """One reachable host."""

    name: str
    port: int
    user: str
    home: Path
    host_key: str

    @property
    def known_line(self) -> str:
        """As known_hosts wants it."""
        return f"[127.0.0.1]:{self.port} {self.host_key}"


@pytest.fixture
def ssh_hosts() -> Iterator[Callable[[str, str], SshHost]]:
    """Start hosts by name with the public key that may enter; all end with the test."""
    sshd = required("sshd")
    if os.geteuid() != 0 and not _hands_on_terminals():
        pytest.skip("terminals have no group tty here (devpts without gid=5): sshd hands none on, except as root")
    base = Path(tempfile.mkdtemp(prefix="gitmedic-sshd-", dir="/var/tmp"))
    base.chmod(0o755)
    is_root = os.geteuid() == 0
    user = _TESTER if is_root else pwd.getpwuid(os.getuid()).pw_name
    prefix: list[str] = []
    if is_root:
        lines = [Path("/etc/passwd").read_text().rstrip("\n"), "sshd:x:61100:65534::/run/sshd:/bin/false"]
        (base / "passwd").write_text("\n".join([*lines, f"{_TESTER}:x:61101:65534::{base}:/bin/sh"]) + "\n")
        prefix = ["unshare", "-m", "sh", "-c", _NAMESPACE, "sh", str(base / "passwd")]
        os.chown(base, 61101, 65534)
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, public_key: str) -> SshHost:
        home = base / name
        home.mkdir(mode=0o755)
        port = free_port()
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(home / "host_key")], check=True
        )
        (home / "authorized_keys").write_text(public_key)
        (home / "config").write_text(_CONFIG.format(port=port, home=home))
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [*prefix, sshd, "-D", "-e", "-f", str(home / "config")],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        started.append(process)
        _wait(port, process, home / "log")
        key = " ".join((home / "host_key.pub").read_text().split()[:2])
        return SshHost(name=name, port=port, user=user, home=home, host_key=key)

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
        shutil.rmtree(base, ignore_errors=True)


def _hands_on_terminals() -> bool:
    """Whether a new terminal has the group that sshd, without root, could not give it."""
    master, slave = os.openpty()
    try:
        return os.fstat(slave).st_gid == grp.getgrnam("tty").gr_gid
    finally:
        os.close(master)
        os.close(slave)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"sshd did not start: {log.read_text()[-500:]}")
