"""Two real FRR routers with a BGP session between them, one of them reached by SSH with vtysh.

The session is held down by more prefixes than are allowed: FRR then keeps it idle until somebody clears it, also
when the other side has withdrawn them. Both live in network namespaces; files and sockets are a test's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.machine import required
from tests.targets.network import Net
from tests.targets.ssh import GID, UID, USER, Target, in_namespace, wait_for_port, write_home

_CONFIG = """
hostname {name}
router bgp {own}
 bgp router-id {address}
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 3 9
 neighbor {peer} remote-as {other}
 neighbor {peer} timers connect 1
 address-family ipv4 unicast
  {family}
 exit-address-family
"""
#: daemons of one router, in its own namespaces; the first process stays
_START = """
mkdir -p -m 755 /run/frr && chown frr:frr /run/frr
{zebra} -d -f {empty} -i /run/frr/zebra.pid -A 127.0.0.1
{bgpd} -d -f {config} -i /run/frr/bgpd.pid -A 127.0.0.1
exec {last}
"""


class Routers:
    """`here` is the managed one; `there` announces too much, or not."""

    def __init__(self, net: Net, public_key: str) -> None:
        self.net = net
        addresses = {name: net.add_host(name) for name in ("here", "there")}
        self.peer = addresses["there"]
        here, there = addresses["here"], addresses["there"]
        family = f"neighbor {there} maximum-prefix 1"
        key = self._start("here", here, there, (65001, 65002), family, public_key)
        self._start("there", there, here, (65002, 65001), "network 198.51.100.0/25", public_key)
        self.target = Target(name="here", address=here, user=USER, home=net.base / "here", host_key=key)
        self._until(lambda: self.state() == "Established", "the session did not come up")

    def say(self, router: str, *commands: str) -> str:
        """vtysh on one of them."""
        words = [word for command in commands for word in ("-c", command)]
        pid = (self.net.base / router / "pid").read_text().strip()
        enter = ["nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt"]
        done = subprocess.run([*enter, required("vtysh"), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def session(self) -> Any:
        """The session as the managed router sees it."""
        return json.loads(self.say("here", f"show bgp neighbors {self.peer} json"))[self.peer]

    def state(self) -> str:
        """Established, or why not."""
        try:
            return str(self.session()["bgpState"])
        except (AssertionError, KeyError, ValueError) as error:
            return f"unknown: {error}"

    def break_session(self) -> None:
        """Too many prefixes come, the session goes down for good, and they are withdrawn."""
        change = ["configure terminal", "router bgp 65002", "address-family ipv4 unicast"]
        extra = ("203.0.113.0/25", "203.0.113.128/25")  # the limit is looked at before a prefix is counted
        self.say("there", *change, *(f"network {one}" for one in extra))
        self._until(lambda: self.state() != "Established", "the session did not go down")
        self.say("there", *change, *(f"no network {one}" for one in extra))

    def _start(self, name: str, own: str, peer: str, numbers: tuple[int, int], family: str, public_key: str) -> str:
        home = self.net.base / name
        key = write_home(home, public_key)
        config, empty, script = home / "bgpd.conf", home / "zebra.conf", home / "start"
        empty.write_text(f"hostname {name}\n")
        config.write_text(
            _CONFIG.format(name=name, address=own, own=numbers[0], peer=peer, other=numbers[1], family=family)
        )
        sshd = f"{required('sshd')} -D -e -f {home}/config"
        script.write_text(
            f"echo $$ > {home}/pid\n"
            + _START.format(zebra=required("zebra"), bgpd=required("bgpd"), empty=empty, config=config, last=sshd)
        )
        os.chown(home, UID, GID)
        self.net.start(in_namespace(self.net, name, ["sh", "-e", str(script)]), home / "log")
        wait_for_port(self.net, own, home / "log")
        return key

    def _until(self, done: Any, words: str) -> None:
        end = time.monotonic() + 30
        while not done():
            if time.monotonic() > end:
                logs = "\n".join(Path(self.net.base / one / "log").read_text()[-400:] for one in ("here", "there"))
                pytest.fail(f"{words}: {self.state()}\n{logs}")
            time.sleep(0.1)
