"""A real sshd in a network namespace of a test's network, on port 22, for a user that exists only there."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.machine import required
from tests.targets.network import Net

USER, UID, GID = "gitmedic-tester", 61101, 61102
#: /run and the accounts are the host's own; the machine's stay as they are
_NAMESPACE = """
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount --bind "$1/passwd" /etc/passwd &&
mount --bind "$1/group" /etc/group && mount --bind "$1/pam.d" /etc/pam.d && shift && exec "$@"
"""
CONFIG = """
Port 22
HostKey {home}/host_key
PidFile none
AuthorizedKeysFile {home}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv PATH={path}:/usr/sbin:/usr/bin:/sbin:/bin HOME={home}
{more}
"""


@dataclass
class Target:
    """One host as the inventory names it."""

    name: str
    address: str
    user: str
    home: Path
    host_key: str

    @property
    def known_line(self) -> str:
        """As known_hosts wants it."""
        return f"{self.address} {self.host_key}"

    def variables(self, **more: Any) -> dict[str, Any]:
        """What the inventory says of it."""
        return {
            "ansible_host": self.address, "ansible_user": self.user, "ansible_python_interpreter": "/usr/bin/python3",
            **more,
        }  # fmt: skip


def make_key(folder: Path) -> tuple[Path, str]:
    """A fresh key: the private file, and the public line."""
    file = folder / "id"
    if not file.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t", "-f", str(file)], check=True)
    return file, file.with_suffix(".pub").read_text()


def write_home(home: Path, public_key: str, more: str = "") -> str:
    """Host key, configuration and who may enter; gives the public host key."""
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(home / "host_key")], check=True)
    (home / "authorized_keys").write_text(public_key)
    tools = Path(required("sshd")).parent
    (home / "config").write_text(CONFIG.format(home=home, path=tools, more=more))
    return " ".join((home / "host_key.pub").read_text().split()[:2])


def in_namespace(net: Net, name: str, command: list[str]) -> list[str]:
    """The command with the host's network, accounts and /run."""
    etc = net.base / f"{name}-etc"
    if not etc.exists():
        (etc / "pam.d").mkdir(parents=True)
        # whoever may use vtysh's sockets may use vtysh
        (etc / "pam.d" / "frr").write_text("auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n")
        lines = [Path("/etc/passwd").read_text().rstrip("\n"), "sshd:x:61100:65534::/run/sshd:/bin/false"]
        lines += [f"frr:x:61103:{GID}::/run/frr:/bin/false", f"{USER}:x:{UID}:{GID}::{net.base / name}:/bin/sh"]
        (etc / "passwd").write_text("\n".join(lines) + "\n")
        groups = [Path("/etc/group").read_text().rstrip("\n"), f"frrvty:x:{GID}:", f"frr:x:{GID}:"]
        (etc / "group").write_text("\n".join(groups) + "\n")
    return [*net.inside(name), "unshare", "-m", "sh", "-c", _NAMESPACE, "sh", str(etc), *command]


def start_sshd(net: Net, name: str, public_key: str) -> Target:
    """A host with nothing but sshd, for an ordinary user; it ends with the network."""
    sshd, address, home = required("sshd"), net.add_host(name), net.base / name
    key = write_home(home, public_key)
    os.chown(home, UID, GID)
    command = in_namespace(net, name, [sshd, "-D", "-e", "-f", str(home / "config")])
    net.start(command, home / "log")
    wait_for_port(net, address, home / "log")
    return Target(name=name, address=address, user=USER, home=home, host_key=key)


def wait_for_port(net: Net, address: str, log: Path) -> None:
    """Until sshd answers in the control namespace."""
    end = time.monotonic() + 20
    program = f"exec 3<>/dev/tcp/{address}/22"
    while time.monotonic() < end:
        if subprocess.run([*net.inside(), "bash", "-c", program], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.05)
    pytest.fail(f"sshd on {address} did not start: {log.read_text(errors='replace')[-500:] if log.exists() else ''}")
