"""SSH for one run: an agent that can only speak to the approved hosts (rule S7), and a configuration of its own.

Keys never enter the sandbox. `ssh-add -h` binds them to user, address and host key, so a run cannot use them against
any other host, whatever its playbook does. A CA signs a key that is made for the run and forgotten with it; what it
signs for a jump host passes connections on and runs no command. Refuses OpenSSH older than 8.9, a host whose key is not
known, two hosts with one host key, and a key with a passphrase that nobody configured.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from receiver.adapters.runner.credentials import SshKey
from receiver.adapters.runner.hostkeys import lines_of, name_of, spoken
from receiver.adapters.runner.seen import NAME, SOCKET
from receiver.domain.run import Hop, Job
from receiver.errors import Refused, Unavailable

_VERSION = re.compile(r"OpenSSH_(\d+)\.(\d+)")
_FIRST = (8, 9)
#: a certificate is good for this long, or as long as the run may take: each task opens a connection of its own
_CERTIFICATE_SECONDS = 600
#: what a certificate for a target allows: a command, and the terminal that Ansible asks for with sudo
_ON_TARGETS = ("-O", "clear", "-O", "permit-pty")
#: on a jump host nothing but passing on
_ON_JUMPS = ("-O", "clear", "-O", "permit-port-forwarding", "-O", "force-command=/bin/false")
#: asked again after a wrong passphrase it says nothing, else ssh-add would ask for ever
_ASK = '#!/bin/sh\n/bin/cat "$GITMEDIC_PASSPHRASE" && /bin/rm -f "$GITMEDIC_PASSPHRASE"\n'
_CONFIG = """Host *
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    BatchMode yes
    ForwardAgent no
    IdentityAgent {socket}
    PreferredAuthentications publickey
    ControlMaster no
    ConnectTimeout 10
    ServerAliveInterval 5
    ServerAliveCountMax 3
"""


async def load(
    scratch: Path,
    own: Path,
    inside: Path,
    job: Job,
    hosts: Sequence[Hop],
    keys: Sequence[SshKey],
    known_hosts: Path,
    *,
    sees_own: bool,
) -> None:
    """Give the agent in `own` the keys of this run, and the run its ssh_config and known_hosts.

    `inside` is where the run sees `scratch`. A run that sees `own` is told that path: a socket's has at most 107 bytes.
    """
    await _check_version()
    own_known = scratch / "known_hosts"
    own_known.write_text(await lines_of(hosts, known_hosts))
    (scratch / "ssh_config").write_text(
        _CONFIG.format(known_hosts=inside / "known_hosts", socket=(own if sees_own else inside / NAME) / SOCKET)
    )
    await _answers(own / SOCKET)
    seconds = job.timeout_seconds + 60
    desk = own / "desk"  # for keys that are made here; gone before the run begins
    desk.mkdir(mode=0o700)
    # a program is started from here: memory is often mounted noexec
    ask = scratch / "ask"
    ask.write_text(_ASK)
    ask.chmod(0o700)
    try:
        loader = _Loader(own / SOCKET, own_known, desk, ask, seconds)
        for key in keys:
            if key.is_ca:
                await loader.sign(key, [host.name for host in job.hosts])
            else:
                await loader.add(key)
    finally:
        shutil.rmtree(desk, ignore_errors=True)
        ask.unlink(missing_ok=True)


class _Loader:
    """Fills one agent."""

    def __init__(self, socket: Path, known_hosts: Path, desk: Path, ask: Path, seconds: int) -> None:
        self._agent = {"SSH_AUTH_SOCK": str(socket)}
        self._known_hosts, self._desk, self._ask, self._seconds = known_hosts, desk, ask, seconds

    async def add(self, key: SshKey) -> None:
        """A key as it is, for its hosts only."""
        asks, before = self._passphrase(key), await self._count()
        file = self._beside_its_certificate(key)
        # ssh-add refuses a file that others can read, as Docker's secrets are; what it is handed it just takes
        where, content = (str(file), b"") if file is not None else ("-", key.content)
        said = await spoken(
            f"loading the key of credential {key.name!r}", [*self._ssh_add(key.hosts), where], self._agent | asks,
            must=False, stdin=content,
        )  # fmt: skip
        if await self._count() <= before:
            raise self._not_loaded(key, said)
        if file is not None:
            await self._keep_certificate_only(file)

    def _beside_its_certificate(self, key: SshKey) -> Path | None:
        """The key as a file with its certificate beside it, which is where ssh-add looks; None: it has none."""
        if key.file is None or not Path(f"{key.file}-cert.pub").exists():
            return None
        file = self._desk / "own"
        for end in ("", ".pub", "-cert.pub"):
            Path(f"{file}{end}").unlink(missing_ok=True)
            source = Path(f"{key.file}{end}")
            if not end or source.exists():
                Path(f"{file}{end}").write_bytes(source.read_bytes() if end else key.content)
                Path(f"{file}{end}").chmod(0o600)
        return file

    async def sign(self, ca: SshKey, targets: Sequence[str]) -> None:
        """A fresh key with a certificate for the targets, and one that only passes on for the jump hosts."""
        (self._desk / "ca").write_bytes(ca.content if ca.content.endswith(b"\n") else ca.content + b"\n")
        (self._desk / "ca").chmod(0o400)
        for part, options in (("targets", _ON_TARGETS), ("jumps", _ON_JUMPS)):
            hosts = [hop for hop in ca.hosts if (hop.name in targets) == (part == "targets")]
            if not hosts:
                continue
            users = ca.principals or tuple(dict.fromkeys(hop.user for hop in hosts if hop.user))
            if not users:
                raise Refused(
                    f"signing a key by credential {ca.name!r}: no user of {hosts[0].name} is known",
                    next_step="set ansible_user of the host in the inventory, or `principals` of the credential",
                    reason="credential",
                )
            file = self._desk / part
            doing = f"signing a key by credential {ca.name!r}"
            await spoken(doing, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", part, "-f", str(file)])
            validity = f"-1m:+{max(_CERTIFICATE_SECONDS, self._seconds)}s"
            argv = ["ssh-keygen", "-q", "-s", str(self._desk / "ca"), "-I", f"gitmedic {part}", "-n", ",".join(users)]
            try:
                asks = self._passphrase(ca)
                await spoken(doing, [*argv, "-V", validity, *options, f"{file}.pub"], asks)
            except Refused as error:
                raise self._not_loaded(ca, error.message) from None
            await spoken(doing, [*self._ssh_add(hosts), str(file)], self._agent)
            await self._keep_certificate_only(file)

    async def _keep_certificate_only(self, file: Path) -> None:
        """ssh would sign with the bare key for its certificate, and an agent that is bound to hosts refuses that."""
        await spoken("taking the bare key from the agent", ["ssh-add", "-q", "-d", "-k", str(file)], self._agent)

    def _ssh_add(self, hosts: Sequence[Hop]) -> list[str]:
        constraints = [part for host in hosts for part in ("-h", _destination(host))]
        return ["ssh-add", "-q", "-t", str(self._seconds), "-H", str(self._known_hosts), *constraints]

    def _passphrase(self, key: SshKey) -> dict[str, str]:
        """How OpenSSH asks for it: by a program that prints a file, once; so it stands in no argument."""
        file = self._desk / "passphrase"
        file.unlink(missing_ok=True)
        if key.passphrase is not None:
            file.write_bytes(key.passphrase + b"\n")
            file.chmod(0o600)
        return {
            "SSH_ASKPASS": str(self._ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0",
            "GITMEDIC_PASSPHRASE": str(file),
        }  # fmt: skip

    async def _count(self) -> int:
        """How many keys the agent has: ssh-add ends with 0 for some that it left out."""
        listed = await spoken("asking the agent for its keys", ["ssh-add", "-l"], self._agent, must=False)
        return sum("SHA256:" in line for line in listed.splitlines())

    def _not_loaded(self, key: SshKey, said: str) -> Refused:
        origin = f" ({key.file})" if key.file else ""
        doing = f"loading the key of credential {key.name!r}{origin}"
        if b"PRIVATE KEY" not in key.content:
            return Refused(f"{doing}: it is no private key", next_step="name the private key", reason="credential")
        if key.passphrase is None:
            return Refused(
                f"{doing}: it has a passphrase, and none is configured; or it is a key that OpenSSH does not read",
                next_step=f"[credentials.{key.name}] passphrase_file = …, or a key without one",
                reason="passphrase",
            )
        return Refused(
            f"{doing}: the configured passphrase does not open it {' '.join(said.split())[:100]}".rstrip(),
            next_step=f"look at passphrase_file or passphrase_command of [credentials.{key.name}]",
            reason="passphrase",
        )


def _destination(host: Hop) -> str:
    """As `ssh-add -h` reads it."""
    return f"{host.user}@{name_of(host)}" if host.user else name_of(host)


async def _answers(socket: Path) -> None:
    for _ in range(500):
        if socket.exists():
            return
        await asyncio.sleep(0.01)
    raise Unavailable("starting ssh-agent: it made no socket in 5 s")


async def _check_version() -> None:
    if not shutil.which("ssh-agent") or not shutil.which("ssh"):
        raise Refused("connecting by SSH: no OpenSSH client here", next_step="apt install openssh-client")
    said = await spoken("asking ssh for its version", ["ssh", "-V"])
    match = _VERSION.search(said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _FIRST:
        raise Refused(
            f"connecting by SSH: {said.strip()[:60]!r} cannot constrain an agent to hosts",
            next_step="install OpenSSH 8.9 or newer",
            reason="old_openssh",
        )
