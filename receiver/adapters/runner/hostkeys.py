"""Host keys: what is known of a host, what it shows now, and what may be believed (rule S7).

Decides that a key belongs to one host: two hosts with one key could stand in for each other. Refuses to believe a key
in the place of a known one or of another kind than it unless told to, a key that is marked `@revoked`, and a host that
shows another fingerprint than was expected.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from receiver.domain.run import Hop, JobHost
from receiver.errors import Conflict, Invalid, Refused, Unavailable

_KIND = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}", re.ASCII)
_SCAN_SECONDS = 10
#: how ssh-keygen -F names a line
_FOUND = re.compile(r"^# Host .* found: line (\d+)", re.MULTILINE)


class HostKey(NamedTuple):
    """One public key of a host."""

    kind: str
    key: str

    @property
    def fingerprint(self) -> str:
        """As ssh shows it."""
        return "SHA256:" + base64.b64encode(sha256(base64.b64decode(self.key)).digest()).decode().rstrip("=")


def name_of(host: Hop | JobHost) -> str:
    """As known_hosts names it."""
    return host.address if host.port == 22 else f"[{host.address}]:{host.port}"


async def known(host: Hop | JobHost, known_hosts: Path) -> list[HostKey]:
    """The keys that are believed of a host; hashed names are found, too."""
    if not known_hosts.exists():
        return []
    found = await _lines(host, known_hosts)
    gone = _revoked(found)
    keys = [HostKey(*words[1:3]) for words in found if len(words) >= 3 and not words[0].startswith("@")]
    return [key for key in keys if key not in gone]


async def revoked(host: Hop | JobHost, known_hosts: Path) -> set[HostKey]:
    """The keys that a line with `@revoked` says are not to be believed of a host, whoever shows them."""
    return _revoked(await _lines(host, known_hosts)) if known_hosts.exists() else set()


async def _lines(host: Hop | JobHost, known_hosts: Path) -> list[list[str]]:
    """The lines about a host, as words."""
    doing = f"looking up the host key of {name_of(host)}"
    said = await spoken(doing, ["ssh-keygen", "-F", name_of(host), "-f", str(known_hosts)], must=False)
    return [line.split() for line in said.splitlines() if line and not line.startswith("#")]


def _revoked(lines: Iterable[list[str]]) -> set[HostKey]:
    return {HostKey(*words[2:4]) for words in lines if len(words) >= 4 and words[0] == "@revoked"}


async def lines_of(hosts: Iterable[Hop | JobHost], known_hosts: Path) -> str:
    """known_hosts with these hosts only; refuses an unknown one, and two that share a key."""
    owners: dict[HostKey, Hop | JobHost] = {}
    for host in hosts:
        found = await known(host, known_hosts)
        gone = set() if found else await revoked(host, known_hosts)
        if gone:
            raise _is_revoked(f"connecting to {host.name}", min(gone))
        if not found:
            raise Refused(
                f"connecting to {host.name}: the host key of {name_of(host)} is not known",
                next_step=f"gitmedic hosts trust {host.name}",
                reason="unknown_host_key",
            )
        for key in found:
            if owners.setdefault(key, host).name != host.name:
                raise _shared(f"connecting to {host.name}", owners[key].name)
    return "".join(f"{name_of(host)} {key.kind} {key.key}\n" for key, host in owners.items())


async def scanned(host: Hop | JobHost) -> list[HostKey]:
    """What the host shows now. That is no proof of who it is: somebody has to compare it."""
    doing = f"asking {name_of(host)} for its host keys"
    said = await spoken(
        doing, ["ssh-keyscan", "-T", str(_SCAN_SECONDS), "-p", str(host.port), "--", host.address], must=False
    )
    found = read_keys(said)
    if not found:
        raise Unavailable(f"{doing}: it showed none in {_SCAN_SECONDS} s")
    return found


def read_keys(text: str) -> list[HostKey]:
    """The keys in lines as ssh-keyscan prints them."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and not line.startswith("#") and _KIND.fullmatch(words[1]):
            try:
                base64.b64decode(words[2], validate=True)
            except binascii.Error:
                continue
            found.append(HostKey(words[1], words[2]))
    return sorted(set(found))


def matching(keys: Sequence[HostKey], fingerprint: str, doing: str) -> list[HostKey]:
    """The key with this fingerprint, and no other."""
    wanted = fingerprint.strip().rstrip("=")
    found = [key for key in keys if key.fingerprint == wanted]
    if not found:
        shown = ", ".join(f"{key.fingerprint} ({key.kind})" for key in keys)
        raise Refused(
            f"{doing}: no key of it has the fingerprint {fingerprint!r:.80}; it shows {shown}",
            next_step="find out who answers there before you trust it",
            reason="fingerprint",
        )
    return found


async def trust(
    host: Hop, keys: Sequence[HostKey], known_hosts: Path, others: Iterable[Hop], *, replace: bool
) -> list[HostKey]:
    """Believe these keys of this host. Gives what was believed before; the same again is harmless."""
    doing = f"trusting {host.name}"
    async with _held(known_hosts, doing):
        return await _believe(host, keys, known_hosts, others, replace=replace, doing=doing)


async def _believe(
    host: Hop, keys: Sequence[HostKey], known_hosts: Path, others: Iterable[Hop], *, replace: bool, doing: str
) -> list[HostKey]:
    before, gone = await known(host, known_hosts), await revoked(host, known_hosts)
    bad = next((key for key in keys if key in gone), None)
    if bad is not None:
        raise _is_revoked(doing, bad)
    for other in others:
        if other.name != host.name and set(keys) & set(await known(other, known_hosts)):
            raise _shared(doing, other.name)
    changed = [key for key in before if key not in keys and any(key.kind == new.kind for new in keys)]
    if changed and not replace:
        raise Conflict(
            f"{doing}: its {changed[0].kind} key was {changed[0].fingerprint} and is another now: "
            "it was made anew, or somebody else answers there",
            next_step=f"compare the fingerprint on the host itself, then: gitmedic hosts trust {host.name} --replace",
        )
    if before and not set(before) & set(keys) and not replace:
        raise Conflict(
            f"{doing}: it is known by its {before[0].kind} key {before[0].fingerprint}, and none of "
            f"{', '.join(key.kind for key in keys)} is that one: somebody else may answer there",
            next_step=f"trust it by all its keys, the known one among them; or, where that one is gone: "
            f"gitmedic hosts trust {host.name} --replace",
        )
    old = await _lines_of_one(host, known_hosts) if before and replace else frozenset()
    kept = [] if old else before
    added = "".join(f"{name_of(host)} {key.kind} {key.key}\n" for key in keys if key not in kept)
    if old or added:
        _write(known_hosts, old, added)
    return before


async def spoken(
    doing: str,
    argv: Sequence[str],
    environment: dict[str, str] | None = None,
    *,
    must: bool = True,
    stdin: bytes = b"",
) -> str:
    """What a program of OpenSSH says; what it is told on standard input is in no argument."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if must else asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", **(environment or {})}, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{doing}: {argv[0]} is not installed", next_step="apt install openssh-client") from None
    try:
        said = (await asyncio.wait_for(process.communicate(stdin), 30))[0].decode(errors="replace")
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unavailable(f"{doing}: {argv[0]} did not end in 30 s") from None
    if process.returncode != 0 and must:
        raise Refused(f"{doing}: {' '.join(said.split())[:300]}", next_step="gitmedic doctor", reason="ssh")
    return said


async def _lines_of_one(host: Hop, known_hosts: Path) -> frozenset[int]:
    """The numbers of the lines that believe a key of this host; what revokes one, or names an authority, stays."""
    doing = f"looking up the host key of {name_of(host)}"
    said = await spoken(doing, ["ssh-keygen", "-F", name_of(host), "-f", str(known_hosts)], must=False)
    lines = _written(known_hosts)
    found = [int(match[1]) for match in _FOUND.finditer(said)]
    return frozenset(number for number in found if not lines[number - 1].lstrip().startswith("@"))


@contextlib.asynccontextmanager
async def _held(known_hosts: Path, doing: str) -> AsyncIterator[None]:
    """Its folder, against another who reads it and writes it again at the same time."""
    try:
        known_hosts.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(known_hosts.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Invalid(f"{doing}: {known_hosts.parent}: {error.strerror}", next_step="see who owns it") from None
    try:
        await asyncio.to_thread(fcntl.flock, folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(known_hosts: Path, gone: Container[int], added: str) -> None:
    """Without some lines, and with others, as one file in one step: a run that reads it meanwhile sees the old or the
    new one."""
    lines = _written(known_hosts)
    kept = "".join(f"{line}\n" for number, line in enumerate(lines, 1) if number not in gone)
    name = ""
    try:
        handle, name = tempfile.mkstemp(prefix=".known_hosts-", dir=known_hosts.parent)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(kept + added)
            stream.flush()
            os.fsync(stream.fileno())
        owner = known_hosts.parent.stat()
        if os.geteuid() == 0:  # under sudo, the file stays that of the directory's owner
            os.chown(name, owner.st_uid, owner.st_gid)
        Path(name).replace(known_hosts)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise Invalid(f"writing {known_hosts}: {error.strerror}", next_step="see who owns it") from None


def _is_revoked(doing: str, key: HostKey) -> Refused:
    return Refused(
        f"{doing}: its {key.kind} key {key.fingerprint} is marked @revoked in known_hosts",
        next_step="make the host another key, and trust that one: rm /etc/ssh/ssh_host_*; ssh-keygen -A",
        reason="revoked_host_key",
    )


def _written(known_hosts: Path) -> list[str]:
    """As ssh-keygen counts them."""
    text = known_hosts.read_text("utf-8", "surrogateescape") if known_hosts.exists() else ""
    return text.removesuffix("\n").split("\n") if text else []


def _shared(doing: str, other: str) -> Refused:
    return Refused(
        f"{doing}: it has the host key of {other}",
        next_step="give each host a key of its own: rm /etc/ssh/ssh_host_*; ssh-keygen -A",
        reason="shared_host_key",
    )
