"""A real Docker daemon of a test's own: its data, socket and cgroup are its own, and it changes no network.

Images are made here: one of busybox alone, and one that starts the machine's own systemd over its read-only /usr.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machine import required
from tests.targets.network import Net, only_root
from tests.targets.ssh import Target, wait_for_port, write_home

BUSYBOX, SYSTEMD = "gitmedic-test/busybox:1", "gitmedic-test/systemd:1"
_APPLETS = ("sh", "ls", "cat", "sleep", "echo", "ps", "id", "true", "false", "test", "rm", "touch")
_UNIT = "[Service]\nExecStart={command}\n[Install]\nWantedBy=multi-user.target\n"
#: its own cgroups, which Docker mounts read-only, and nothing of the machine's
_BOOT = "for one in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw $one; done; exec /usr/lib/systemd/systemd"


class Docker:
    """The daemon, by its socket."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.socket = base / "docker.sock"
        self._cgroup = f"gitmedic-{base.name}"
        with (base / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [required("dockerd"), "--data-root", str(base / "data"), "--exec-root", str(base / "exec"),
                 "-H", f"unix://{self.socket}", "--pidfile", str(base / "pid"), "--iptables=false",
                 "--ip-forward=false", "--bridge=none", "--userland-proxy=false", "--cgroup-parent",
                 f"/{self._cgroup}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 30
        while self.docker("version", check=False).returncode != 0:
            if time.monotonic() > end or self._process.poll() is not None:
                pytest.fail(f"dockerd did not start: {(base / 'log').read_text()[-800:]}")
            time.sleep(0.05)

    def docker(self, *words: str, check: bool = True, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """One command of the client."""
        done = subprocess.run(
            [required("docker"), "-H", f"unix://{self.socket}", *words], capture_output=True, check=False, input=given
        )
        assert done.returncode == 0 or not check, f"docker {' '.join(words)}: {done.stderr.decode()}"
        return done

    def inspect(self, name: str) -> Any:
        """What the daemon knows of a container."""
        return json.loads(self.docker("inspect", name).stdout)[0]

    def add_container(self, name: str, *options: str) -> None:
        """A container that sleeps."""
        if not self.docker("images", "-q", BUSYBOX).stdout:
            files = {"bin/busybox": Path(required("busybox-static"))}
            links = {f"bin/{one}": "busybox" for one in _APPLETS}
            self.docker("import", "-", BUSYBOX, given=archive(files=files, links=links, folders=("tmp", "www")))
        self.docker("run", "-d", "--name", name, "--network", "none", *options, BUSYBOX, "sleep", "3600")

    def add_machine(self, net: Net, name: str, public_key: str, units: dict[str, str]) -> Target:
        """A container with systemd as its first process and sshd, on a test's network; `units`: name → command."""
        required("systemctl")  # the container starts the machine's own systemd
        home = net.base / name
        key = write_home(home, public_key)
        place = str(self.base / "etc.tar")
        units = units | {"ssh.service": f"{required('sshd')} -D -e -f {home}/config"}
        Path(place).write_bytes(_etc(units))
        self.docker("import", place, SYSTEMD)
        tools = Path(required("sshd")).parent.parent
        self.docker(
            "run", "-d", "--name", name, "--network", "none", "--cap-add", "SYS_ADMIN", "--security-opt",
            "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=private", "--tmpfs", "/run",
            "--tmpfs", "/tmp", "-v", "/usr:/usr:ro", "-v", f"{tools}:{tools}:ro", "-v", f"{home}:{home}",
            "--stop-signal", "SIGRTMIN+3", "-e", "container=docker", SYSTEMD, "/bin/sh", "-c", _BOOT,
        )  # fmt: skip
        address = net.attach(name, str(self.inspect(name)["State"]["Pid"]))
        wait_for_port(net, address, self.base / "log")
        return Target(name=name, address=address, user="root", home=home, host_key=key)

    def close(self) -> None:
        """Containers, daemon, mounts and cgroups."""
        names = self.docker("ps", "-aq", check=False).stdout.decode().split()
        if names:
            self.docker("rm", "-f", *names, check=False)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for top in Path("/sys/fs/cgroup").glob(f"**/{self._cgroup}"):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        shutil.rmtree(self.base, ignore_errors=True)


def archive(
    *,
    files: dict[str, Path] | None = None,
    texts: dict[str, str] | None = None,
    links: dict[str, str] | None = None,
    folders: tuple[str, ...] = (),
) -> bytes:
    """A root file system as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in folders:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, path in (files or {}).items():
            tar.add(path.resolve(), name)
        for name, text in (texts or {}).items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def _etc(units: dict[str, str]) -> bytes:
    """Accounts and units; everything else is the machine's /usr."""
    texts = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/bin/false\n"
        "messagebus:x:104:110::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
        "etc/group": "root:x:0:\ntty:x:5:\nmessagebus:x:110:\nnogroup:x:65534:\n",
        "etc/machine-id": "",
        "etc/tmpfiles.d/sshd.conf": "d /run/sshd 0755 root root\n",
        **{f"etc/systemd/system/{name}": _UNIT.format(command=command) for name, command in units.items()},
    }
    links = {one: f"usr/{one}" for one in ("bin", "sbin", "lib", "lib64")}
    wanted = "etc/systemd/system/multi-user.target.wants"
    links |= {f"{wanted}/{name}": f"/etc/systemd/system/{name}" for name in units}
    links["etc/systemd/system/default.target"] = "/usr/lib/systemd/system/multi-user.target"
    # so that the machine's programs find their libraries
    files = {"etc/ld.so.cache": Path("/etc/ld.so.cache")}
    return archive(files=files, texts=texts, links=links, folders=("proc", "sys", "dev", "run", "tmp", "root", "usr",
                   "var", "var/log", "var/lib", "etc"))  # fmt: skip


@contextlib.contextmanager
def dockerd() -> Iterator[Docker]:
    """One daemon, gone afterwards; its socket's path must be short."""
    only_root()
    docker = Docker(Path(tempfile.mkdtemp(prefix="gm-docker-", dir="/var/tmp")))
    try:
        yield docker
    finally:
        docker.close()
