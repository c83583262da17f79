"""SSH for one run: an agent that can only speak to the approved hosts (rule S7), and a configuration of its own.

Keys never enter the sandbox. `ssh-add -h` binds them to user, address and host key, so a run cannot use them
against any other host, whatever its playbook does. Refuses OpenSSH older than 8.9, a host whose key is not known,
and two hosts with one host key.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from receiver.domain.run import JobHost
from receiver.errors import Refused

_VERSION = re.compile(r"OpenSSH_(\d+)\.(\d+)")
_FIRST = (8, 9)
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
"""


@asynccontextmanager
async def ssh_agent(
    scratch: Path,
    seen_as: Path | None,
    hosts: Sequence[JobHost],
    keys: Sequence[Path],
    known_hosts: Path,
    seconds: int,
) -> AsyncIterator[Path | None]:
    """An agent for these hosts, in a directory of its own with a short path (a socket's may have 107 bytes).

    Gives that directory, None without SSH hosts. `seen_as` is where the run sees `scratch`, when it is shut in;
    it then sees the agent's directory as `agent` in it. Ends with the run.
    """
    remote = [host for host in hosts if host.connection == "ssh"]
    if not remote:
        yield None
        return
    await _check_version()
    own_known = scratch / "known_hosts"
    own_known.write_text(await _known_lines(remote, known_hosts))
    own = Path(tempfile.mkdtemp(prefix="gm-agent-"))
    socket = own / "sock"
    config = _CONFIG.format(
        known_hosts=(seen_as or scratch) / "known_hosts", socket=seen_as / "agent" / "sock" if seen_as else socket
    )
    (scratch / "ssh_config").write_text(config)
    agent = await asyncio.create_subprocess_exec(
        "ssh-agent", "-D", "-a", str(socket),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        for _ in range(500):
            if socket.exists() or agent.returncode is not None:
                break
            await asyncio.sleep(0.01)
        constraints = [part for host in remote for part in ("-h", _destination(host))]
        for key in keys:
            await _run(
                f"loading the key {key}",
                ["ssh-add", "-q", "-t", str(seconds), "-H", str(own_known), *constraints, str(key)],
                {"SSH_AUTH_SOCK": str(socket)},
            )
        yield own
    finally:
        if agent.returncode is None:
            agent.kill()
        await agent.wait()
        shutil.rmtree(own, ignore_errors=True)


def _destination(host: JobHost) -> str:
    """As `ssh-add -h` reads it, and as known_hosts names a host with a port of its own."""
    where = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    return f"{host.user}@{where}" if host.user else where


async def _known_lines(hosts: Sequence[JobHost], known_hosts: Path) -> str:
    """The lines of these hosts only."""
    lines: dict[str, str] = {}
    for host in hosts:
        name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
        said = await _run(
            f"looking up the host key of {name}",
            ["ssh-keygen", "-F", name, "-f", str(known_hosts)],
            {},
            must=False,
        )
        found = [line for line in said.splitlines() if line and not line.startswith("#")]
        if not found:
            raise Refused(
                f"connecting to {host.name}: the host key of {name} is not known",
                next_step=f"ssh-keyscan -p {host.port} {host.address} >> {known_hosts}, after comparing it",
                reason="unknown_host_key",
            )
        for line in found:
            _, kind, key, *_ = line.split()
            if lines.setdefault(f"{kind} {key}", host.name) != host.name:
                raise Refused(
                    f"connecting to {host.name}: it has the host key of {lines[f'{kind} {key}']}",
                    next_step="give each host a key of its own: rm /etc/ssh/ssh_host_*; ssh-keygen -A",
                    reason="shared_host_key",
                )
    names = {host.name: (host.address if host.port == 22 else f"[{host.address}]:{host.port}") for host in hosts}
    return "".join(f"{names[owner]} {key}\n" for key, owner in lines.items())


async def _check_version() -> None:
    if not shutil.which("ssh-agent") or not shutil.which("ssh"):
        raise Refused("connecting by SSH: no OpenSSH client here", next_step="apt install openssh-client")
    said = await _run("asking ssh for its version", ["ssh", "-V"], {})
    match = _VERSION.search(said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _FIRST:
        raise Refused(
            f"connecting by SSH: {said.strip()[:60]!r} cannot constrain an agent to hosts",
            next_step="install OpenSSH 8.9 or newer",
            reason="old_openssh",
        )


async def _run(doing: str, argv: list[str], environment: dict[str, str], *, must: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip
    said = (await process.communicate())[0].decode(errors="replace")
    if process.returncode != 0 and must:
        raise Refused(f"{doing}: {' '.join(said.split())[:300]}", next_step="gitmedic doctor", reason="ssh")
    return said
