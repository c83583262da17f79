"""The rungs of isolation: how the child is shut in, and which rung works on this machine.

`bwrap`: own user, process, IPC and mount namespaces, no capability, the system read-only, nothing of /home, of
the data directory or of other users; the network is shared. `none`: a process like any other, only where
the policy allows it. Refuses nothing itself: the policy decides on what the probe finds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import receiver

#: read-only, where they exist: name resolution, certificates, the linker, time zones
_ETC = (
    "resolv.conf", "hosts", "nsswitch.conf", "ssl", "ca-certificates", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "alternatives", "gai.conf", "protocols", "services",
)  # fmt: skip
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
JOB = Path("/job")


def bwrap_argv(
    bwrap: str,
    scratch: Path,
    *,
    writable: Iterable[str] = (),
    sockets: Iterable[str] = (),
    agent: Path | None = None,
) -> list[str]:
    """The command line up to the program that is shut in."""
    argv = [
        bwrap, "--unshare-all", "--share-net", "--cap-drop", "ALL", "--die-with-parent", "--new-session",
        "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",  # noqa: S108 - inside
        "--dir", "/run",
        "--dir", "/etc",
    ]  # fmt: skip
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            argv += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            argv += ["--ro-bind", str(place), str(place)]
    for name in _ETC:
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for place in program_places():
        argv += ["--ro-bind", str(place), str(place)]
    argv += ["--bind", str(scratch), str(JOB), "--ro-bind", str(scratch / "passwd"), "/etc/passwd"]
    if agent is not None:
        argv += ["--bind", str(agent), str(JOB / "agent")]
    for path in writable:
        argv += ["--bind", path, path]
    for path in sockets:
        argv += ["--bind", path, path]
    return [*argv, "--chdir", str(JOB), "--"]


def program_places() -> list[Path]:
    """Where this very program lives: its environment, its Python and the package, outside /usr."""
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(receiver.__path__[0])]
    kept: list[Path] = []
    for place in sorted(place.resolve() for place in places):
        if not place.is_relative_to("/usr") and not any(place.is_relative_to(one) for one in kept):
            kept.append(place)
    return kept


def write_passwd(scratch: Path) -> None:
    """Two lines: ssh asks who it is, and refuses a uid without a name."""
    uid = os.getuid()
    lines = [f"gitmedic:x:{uid}:{os.getgid()}::/job/home:/bin/sh", "nobody:x:65534:65534::/:/bin/false"]
    (scratch / "passwd").write_text("\n".join(lines) + "\n")


def probe(bwrap: str, scratch: Path) -> tuple[bool, str]:
    """Whether the sandbox works here, by running this Python in it; and the reason when it does not."""
    program = shutil.which(bwrap)
    if program is None:
        return False, f"{bwrap} is not installed: apt install bubblewrap"
    write_passwd(scratch)
    command = [*bwrap_argv(program, scratch), sys.executable, "-I", "-c", "import ssl; print('in')"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env={"LC_ALL": "C.UTF-8"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{program}: {error}"
    if done.returncode == 0 and done.stdout == "in\n":
        return True, f"{program} works"
    said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return False, f"{program} does not work here: {said}"
