"""What a run might try in order to leave its sandbox: tried for real, by the probe and by the tests.

    python -I -S escape.py '{"secret": "/var/lib/…", "pid": 4711, …}'

Standard library only. Prints the names of the attempts that worked, as one JSON list. Every attempt is harmless where
it works: what it writes is an empty file of a name that it was given, what it signals is told nothing.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE = 0x4206
_FINIT_MODULE = {"x86_64": 313, "aarch64": 273, "riscv64": 273, "armv7l": 379, "i686": 350}
Place = dict[str, Any]


def secret(place: Place) -> bool:
    """Read what lies in the data directory."""
    return bool(Path(place["secret"]).read_bytes())


def home(place: Place) -> bool:
    """Look into the executor's home."""
    return place["home_entry"] in os.listdir(place["home"])  # noqa: PTH208 - names are enough


def shadow(_place: Place) -> bool:
    """Read the machine's password hashes."""
    return bool(Path("/etc/shadow").read_bytes())


def keys(_place: Place) -> bool:
    """Look among the machine's private keys."""
    return bool(os.listdir("/etc/ssl/private"))  # noqa: PTH208 - names are enough


def write(place: Place) -> bool:
    """Write outside its own directory."""
    return _made(Path(place["outside"]))


def program(place: Place) -> bool:
    """Write beside gitmedic's own program."""
    return _made(Path(place["program"]))


def system(place: Place) -> bool:
    """Write into the system."""
    return _made(Path("/usr/local", place["name"]))


def environment(place: Place) -> bool:
    """Read the environment of a process outside."""
    return bool(Path("/proc", str(place["pid"]), "environ").read_bytes())


def through_root(place: Place) -> bool:
    """Go through another process's root directory."""
    return Path(f"/proc/{place['pid']}/root/{place['secret']}").exists()


def commands(place: Place) -> bool:
    """See the command line of a process outside."""
    return place["name"] in Path("/proc", str(place["pid"]), "cmdline").read_text()


def trace(place: Place) -> bool:
    """Trace a process outside."""
    _LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return int(_LIBC.ptrace(_PTRACE_SEIZE, place["pid"], None, None)) == 0


def signal(place: Place) -> bool:
    """Signal a process outside."""
    os.kill(place["pid"], 0)
    return place["name"] in Path("/proc", str(place["pid"]), "cmdline").read_text() if _shows_proc() else True


def unix_socket(place: Place) -> bool:
    """Connect to another's unix socket, as the database's, an agent's or a container engine's."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(place["socket"])
    return True


def abstract_socket(place: Place) -> bool:
    """Connect to an abstract unix socket."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + place["abstract"])
    return True


def shared_memory(place: Place) -> bool:
    """Open shared memory of a process outside."""
    os.close(os.open(place["shared"], os.O_RDWR))
    return True


def network(place: Place) -> bool:
    """Connect to an address that is none of the run's targets."""
    with socket.create_connection(("127.0.0.1", place["port"]), 2):
        return True


def mount(_place: Place) -> bool:
    """Mount something."""
    if _LIBC.mount(b"none", b"/mnt", b"tmpfs", ctypes.c_ulong(0), None) != 0:
        return False
    _LIBC.umount2(b"/mnt", 2)
    return True


def module(_place: Place) -> bool:
    """Load a kernel module."""
    # without a file, so that only the right to do it is asked for
    if _LIBC.syscall(_FINIT_MODULE[os.uname().machine], -1, b"", 0) == 0:
        return True
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)


def device(place: Place) -> bool:
    """Make a device node."""
    target = Path(place["own"], f"{place['name']}-disk")
    os.mknod(target, 0o60600, os.makedev(259, 0))
    target.unlink()
    return True


def privilege(place: Place) -> bool:
    """Become more by starting a set-user-id program, or a program at all."""
    done = subprocess.run([place["setuid"], "/proc/self/status"], capture_output=True, text=True, check=False)
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in done.stdout.splitlines())}
    capable = int(fields["CapEff"][0], 16) != 0
    return capable or fields["Uid"][1] != str(os.geteuid())


def temporary(place: Place) -> bool:
    """Leave a file in /tmp.

    Where /tmp is the run's own this works too: whoever asks must look.
    """
    return _made(Path("/tmp", place["name"]))  # noqa: S108 - the very attempt


def daemon(place: Place) -> bool:
    """Leave a process behind.

    Another session, no environment, no parent: whoever asks must look whether it is still there.
    """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            os.execve("/bin/sleep", ["sleep", place["sleep"]], {})  # noqa: S606 - an argv, no shell
        os._exit(0)
    os.wait()
    return True


#: name → what is tried; its docstring is its meaning in words
ATTEMPTS: dict[str, Callable[[Place], bool]] = {
    one.__name__: one
    for one in (
        secret, home, shadow, keys, write, program, system, environment, through_root, commands, trace, signal,
        unix_socket, abstract_socket, shared_memory, network, mount, module, device, privilege, temporary, daemon,
    )
}  # fmt: skip


def worked(place: Place, names: list[str]) -> list[str]:
    """Those of these attempts that worked; an error is a no."""
    found = []
    for name in names:
        try:
            if ATTEMPTS[name](place):
                found.append(name)
        except (OSError, KeyError, ValueError):
            continue
    return found


def _made(path: Path) -> bool:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return True


def _shows_proc() -> bool:
    return Path("/proc/self/stat").exists()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(worked(given, given["attempts"])))
