"""A network of its own for tests: hosts in network namespaces behind a bridge, reached from a control namespace.

Nothing of it can be reached from the machine's own network, and nothing in it reaches out. A link that is down makes
its host really unreachable. Every name is of this process and this test, and all are removed at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import required

_numbers = itertools.count(1)


class Net:
    """One bridge, and what hangs on it. Interfaces have at most fifteen characters, so names are short."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.prefix = f"gm{os.getpid()}-{next(_numbers)}"
        self.control = f"{self.prefix}-ctl"
        self._spaces: list[str] = []
        self._links: dict[str, str] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self._add_space(self.control)
        self._ip("-n", self.control, "link", "add", "br0", "type", "bridge")
        self._ip("-n", self.control, "addr", "add", "192.0.2.1/24", "dev", "br0")
        self._ip("-n", self.control, "link", "set", "br0", "up")

    def add_host(self, name: str) -> str:
        """A namespace with one interface; gives its address."""
        self._add_space(f"{self.prefix}-{name}")
        return self.attach(name, f"{self.prefix}-{name}")

    def attach(self, name: str, space: str) -> str:
        """A link from the bridge into a namespace, by its name or by a process in it; gives the address."""
        number = len(self._links) + 11
        port = f"p{number}"
        self._ip("-n", self.control, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("-n", self.control, "link", "set", port, "master", "br0", "up")
        inside = ["-n", space] if not space.isdigit() else []
        enter = [] if inside else ["nsenter", f"--net=/proc/{space}/ns/net"]
        for words in (["addr", "add", f"192.0.2.{number}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            self._run([*enter, required("ip"), *inside, *words])
        self._links[name] = port
        return f"192.0.2.{number}"

    def start(self, command: list[str], log: Path) -> None:
        """A process that ends with the network."""
        with log.open("wb") as stream:
            self._started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream))

    def link(self, name: str, state: str) -> None:
        """`down`: nothing reaches the host any more; `up` again."""
        self._ip("-n", self.control, "link", "set", self._links[name], state)

    def inside(self, name: str | None = None) -> list[str]:
        """The beginning of a command that runs in a host's network, or in the control namespace."""
        return [required("ip"), "netns", "exec", f"{self.prefix}-{name}" if name else self.control]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and all that it starts, stands in the control namespace: where the hosts are."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.control}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(there)

    def close(self) -> None:
        """With the namespaces go their interfaces."""
        for space in self._spaces:
            for pid in self._say(["ip", "netns", "pids", space]).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            self._say(["ip", "netns", "del", space])
        for process in self._started:
            process.kill()
            process.wait()

    def _add_space(self, name: str) -> None:
        self._ip("netns", "add", name)
        self._spaces.append(name)
        self._ip("-n", name, "link", "set", "lo", "up")

    def _ip(self, *words: str) -> None:
        self._run([required("ip"), *words])

    @staticmethod
    def _run(command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    @staticmethod
    def _say(command: list[str]) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _enter(space: int) -> None:
    """setns(2), which this Python has no name for."""
    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).setns(space, clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def only_root() -> None:
    """Skip where network namespaces with hosts of other users cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("hosts in network namespaces run as other users, which only root can give them")


@contextlib.contextmanager
def network(base: Path) -> Iterator[Net]:
    """One network, gone afterwards."""
    only_root()
    base.mkdir(parents=True, exist_ok=True)
    net = Net(base)
    try:
        yield net
    finally:
        net.close()
        shutil.rmtree(base, ignore_errors=True)
