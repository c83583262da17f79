"""Whose host keys are believed: scanned from real hosts, compared, one key for one host (rule S7)."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.adapters.runner import hostkeys
from receiver.domain.run import Hop
from receiver.errors import Conflict, Invalid, Refused, Unavailable
from tests.fix_sshd import SshHost
from tests.machine import free_port

pytestmark = pytest.mark.anyio
Start = Callable[[str, str], SshHost]


def hop(host: SshHost) -> Hop:
    return Hop(name=host.name, address="127.0.0.1", port=host.port, user=host.user)


def fingerprint_of(host: SshHost) -> str:
    argv = ["ssh-keygen", "-lf", str(host.home / "host_key.pub")]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]


async def test_a_scanned_key_is_what_the_host_has(tmp_path: Path, ssh_hosts: Start) -> None:
    one, two = ssh_hosts("one", ""), ssh_hosts("two", "")
    place = tmp_path / "new" / "known_hosts"
    keys = await hostkeys.scanned(hop(one))
    assert [key.fingerprint for key in keys] == [fingerprint_of(one)]
    assert hostkeys.matching(keys, fingerprint_of(one), "x") == keys
    with pytest.raises(Refused, match=f"no key of it has the fingerprint.*{re.escape(fingerprint_of(one)[7:20])}"):
        hostkeys.matching(keys, fingerprint_of(two), "trusting one")
    assert await hostkeys.trust(hop(one), keys, place, [hop(two)], replace=False) == []
    assert await hostkeys.trust(hop(one), keys, place, [hop(two)], replace=False) == keys
    assert place.read_text() == one.known_line + "\n" and place.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="it has the host key of one"):
        await hostkeys.trust(hop(two), keys, place, [hop(one)], replace=False)


async def test_a_changed_key_is_refused_until_somebody_says_why(tmp_path: Path, ssh_hosts: Start) -> None:
    one, two = ssh_hosts("one", ""), ssh_hosts("two", "")
    place = tmp_path / "known_hosts"
    place.write_text(f"# mine\nother.lan {two.host_key}\n{one.known_line.replace(one.host_key, two.host_key)}")
    keys = await hostkeys.scanned(hop(one))
    with pytest.raises(Conflict, match="is another now") as caught:
        await hostkeys.trust(hop(one), keys, place, [], replace=False)
    assert "--replace" in caught.value.next_step
    await hostkeys.trust(hop(one), keys, place, [], replace=True)
    assert await hostkeys.known(hop(one), place) == keys
    assert f"other.lan {two.host_key}\n" in place.read_text() and sorted(os.listdir(tmp_path)) == ["known_hosts"]


async def test_a_key_of_another_kind_is_no_second_one(tmp_path: Path, ssh_hosts: Start) -> None:
    one, place = ssh_hosts("one", ""), tmp_path / "known_hosts"
    place.write_text(one.known_line + "\n")
    (known,) = await hostkeys.scanned(hop(one))
    assert known.kind == "ssh-ed25519"
    rsa = made(tmp_path / "rsa", "rsa")
    with pytest.raises(Conflict, match=r"known by its ssh-ed25519 key SHA256:.* none of ssh-rsa") as caught:
        await hostkeys.trust(hop(one), [rsa], place, [], replace=False)
    assert "--replace" in caught.value.next_step and place.read_text() == one.known_line + "\n"
    await hostkeys.trust(hop(one), [known, rsa], place, [], replace=False)
    assert await hostkeys.known(hop(one), place) == [known, rsa]


@pytest.mark.parametrize("names", ["*", "[127.0.0.1]:{port}"])
async def test_a_revoked_key_is_never_believed(tmp_path: Path, ssh_hosts: Start, names: str) -> None:
    one, place = ssh_hosts("one", ""), tmp_path / "known_hosts"
    keys, line = await hostkeys.scanned(hop(one)), f"@revoked {names.format(port=one.port)} {one.host_key}\n"
    place.write_text(line)
    for replace in (False, True):
        with pytest.raises(Refused, match="is marked @revoked in known_hosts"):
            await hostkeys.trust(hop(one), keys, place, [], replace=replace)
    assert place.read_text() == line
    place.write_text(f"{one.known_line}\n{line}")
    assert await hostkeys.known(hop(one), place) == []
    with pytest.raises(Refused, match=f"{re.escape(keys[0].fingerprint[7:20])}.* is marked @revoked"):
        await hostkeys.lines_of([hop(one)], place)
    other = made(tmp_path / "new")
    await hostkeys.trust(hop(one), [other], place, [], replace=True)
    assert await hostkeys.known(hop(one), place) == [other] and line in place.read_text()


def made(file: Path, kind: str = "ed25519") -> hostkeys.HostKey:
    """A key of nobody's."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
    return hostkeys.HostKey(*file.with_suffix(".pub").read_text().split()[:2])


def made_up(letter: bytes) -> hostkeys.HostKey:
    raw = b"\0\0\0\x0bssh-ed25519\0\0\0 " + letter * 32
    return hostkeys.HostKey("ssh-ed25519", base64.b64encode(raw).decode())


async def test_two_hosts_whose_keys_are_replaced_at_once_keep_each_its_own(tmp_path: Path) -> None:
    place, names = tmp_path / "known_hosts", [f"192.0.2.{number}" for number in range(1, 7)]
    place.write_text("".join(f"{name} ssh-ed25519 {made_up(name[-1:].encode()).key}\n" for name in names))
    new = {name: made_up(bytes([65 + number])) for number, name in enumerate(names)}
    hosts = [Hop(name=name, address=name) for name in names]
    await asyncio.gather(*(hostkeys.trust(host, [new[host.name]], place, [], replace=True) for host in hosts))
    assert {host.name: await hostkeys.known(host, place) for host in hosts} == {
        name: [key] for name, key in new.items()
    }


async def test_what_cannot_be_written_leaves_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, host = tmp_path / "known_hosts", Hop(name="one", address="192.0.2.1")
    before = f"@revoked 192.0.2.1 ssh-ed25519 {made_up(b'r').key}\n192.0.2.1 ssh-ed25519 {made_up(b'a').key}\n"
    place.write_text(before)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(hostkeys.tempfile, "mkstemp", full)
        with pytest.raises(Invalid, match="known_hosts: No space left"):
            await hostkeys.trust(host, [made_up(b"b")], place, [], replace=True)
    assert place.read_text() == before
    await hostkeys.trust(host, [made_up(b"b")], place, [], replace=True)
    assert place.read_text() == before.replace(made_up(b"a").key, made_up(b"b").key)


async def test_a_hashed_name_is_found(tmp_path: Path, ssh_hosts: Start) -> None:
    one, place = ssh_hosts("one", ""), tmp_path / "known_hosts"
    place.write_text(one.known_line + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(place)], check=True, capture_output=True)
    assert "127.0.0.1" not in place.read_text()
    assert await hostkeys.lines_of([hop(one)], place) == one.known_line + "\n"


async def test_nobody_there_is_said() -> None:
    with pytest.raises(Unavailable, match="it showed none"):
        await hostkeys.scanned(Hop(name="x", address="127.0.0.1", port=free_port()))


def test_only_lines_of_keys_are_read() -> None:
    text = "# comment\nx ssh-ed25519 !!!\nx no-key AAAA\nshort\nx ssh-ed25519 QUJD more\n"
    assert hostkeys.read_keys(text) == [hostkeys.HostKey("ssh-ed25519", "QUJD")]
