"""The keeper of one run: shuts the run in without bubblewrap, and outlives every process of it.

    python -I -S keeper.py '{"landlock": {...}, "uid": 61201, ...}' PROGRAM ARGUMENT…

Standard library only, for it starts before anything else. It decides nothing: what to shut in is given to it by the
ladder. Refuses to start the program when any step of that fails. Orphans of the run become its children, also those
that left their session and cleared their environment; when the program ends, when the executor is gone or when told to
stop, it ends them all.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = 1, 24, 36, 38, 47
_NEWNS, _NEWIPC, _NEWPID = 0x20000, 0x08000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_RELATIME = 4096, 16384, 1 << 18, 1 << 21
_MS_KEPT = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | 1024 | 2048  # and noatime, nodiratime
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
#: Landlock's rights on files, bit by bit, as its kernel interface numbers them
(EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK,
 MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV) = (1 << bit for bit in range(16))  # fmt: skip
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
WRITE |= TRUNCATE
SHARED = READ_FILE | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
#: how many of the rights on files each version of the interface knows
_KNOWN = {1: 13, 2: 14, 3: 15, 4: 15}
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPED = 3  # abstract sockets and signals, from version 6 on


def main() -> None:
    """Keep one program, and give its exit code."""
    spec, program = json.loads(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _told)
    for group in spec["cgroups"]:
        Path(group).write_text("0")
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)
    _call("prctl", _PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != spec["parent"]:
        os._exit(1)  # the executor was gone before it could be watched
    code = 1
    try:
        if spec["namespaces"]:
            _call("unshare", _NEWPID)
        child = os.fork()
        if child == 0:
            _begin(spec, program)
        code = _wait(child)
    except _ToldError:
        code = 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all()
    os._exit(code)


class _ToldError(Exception):
    """Somebody asked for the end."""


def _told(_number: int, _frame: object) -> None:
    raise _ToldError


def _begin(spec: dict[str, Any], program: list[str]) -> None:
    """In the child: never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()  # what ends its own group leaves the keeper alive
        if spec["namespaces"]:
            _apart(spec)
        _shut_in(spec)
        if spec["namespaces"]:
            _first_process(program, spec["environment"])
        os.execve(program[0], program, {**os.environ, **spec["environment"]})  # noqa: S606 - an argv, no shell
    except BaseException as error:
        print(f"shutting the run in: {error}", file=sys.stderr, flush=True)
    os._exit(125)


def _first_process(program: list[str], environment: dict[str, str]) -> None:
    """Process 1 of the namespace: with its end the kernel ends all others."""
    child = os.fork()
    if child == 0:
        os.execve(program[0], program, {**os.environ, **environment})  # noqa: S606 - an argv, no shell
    os._exit(_wait(child))


def _wait(wanted: int) -> int:
    """Until that child has ended; others are only reaped."""
    while True:
        pid, status = os.wait()
        if pid == wanted:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_all(seconds: float = 5.0) -> None:
    """Every descendant: children are ended until there are none, for an orphan becomes a child."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _children() -> list[int]:
    """Own children, and theirs: a tree that grows faster than it is ended from the top is ended everywhere."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a name is all that is needed
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry)] = int(Path("/proc", entry, "stat").read_bytes().rpartition(b")")[2].split()[1])
    found, last = {os.getpid()}, 0
    while len(found) != last:
        last = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return sorted(found - {os.getpid()})


def _apart(spec: dict[str, Any]) -> None:
    """Mounts of its own: what is not for the run is covered, and its own directory lies where it is told."""
    os.umask(0o022)
    _call("unshare", _NEWNS | _NEWIPC)
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    resolv = Path("/etc/resolv.conf")
    names = resolv.read_bytes() if resolv.exists() else b""
    kept = {target: os.open(source, os.O_PATH) for source, target in spec["shown"] + spec["fixed"]}
    fixed = {target for _, target in spec["fixed"]}
    for place in spec["covered"]:
        _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    Path("/var/tmp").mkdir(parents=True, exist_ok=True)  # noqa: S108 - below what was just covered
    size = f"size={spec['tmp_mb']}m,mode=1777"
    for place in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - covered by empty ones
        if Path(place).is_dir():
            _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    for target in sorted(kept, key=lambda target: target.count("/")):  # what lies in another, after it
        _show(kept[target], Path(target), is_fixed=target in fixed)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    with contextlib.suppress(OSError):
        _mount("devpts", "/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
        _mount("/dev/pts/ptmx", "/dev/ptmx", None, _MS_BIND)
    if not resolv.exists() and names:
        target = Path(os.path.realpath(resolv))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(names)
    _mount(str(Path(spec["job"], "passwd")), "/etc/passwd", None, _MS_BIND)
    os.chdir(spec["job"])


def _show(held: int, place: Path, *, is_fixed: bool) -> None:
    """What was held open, at its place again: below what covers it; what is fixed so that nobody can write it."""
    source = f"/proc/self/fd/{held}"
    is_folder = os.path.isdir(source)  # noqa: PTH112 - a link of /proc, to be followed
    (place if is_folder else place.parent).mkdir(mode=0o755, parents=True, exist_ok=True)
    if not place.exists():
        place.touch()
    _mount(source, str(place), None, _MS_BIND | _MS_REC)
    if is_fixed:
        _mount(None, str(place), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _flags_of(place))


def _flags_of(place: Path) -> int:
    """Those of its mount, which in a container nobody may take away."""
    said = os.statvfs(place).f_flag
    return said & _MS_KEPT | (_MS_RELATIME if said & os.ST_RELATIME else 0)


def _shut_in(spec: dict[str, Any]) -> None:
    """Limits, another user or no capability, no new privilege, and Landlock last."""
    for name, most in spec["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if spec["uid"] is not None:
        os.setgroups([])
        os.setresgid(spec["gid"], spec["gid"], spec["gid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    if spec["landlock"] is None:
        return
    drop_capabilities()
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    restrict(spec["landlock"])


def drop_capabilities() -> None:
    """None is left, and none comes back by starting a program."""
    number = 0
    if os.geteuid() == 0:
        while _LIBC.prctl(_CAPBSET_DROP, number, 0, 0, 0) == 0:
            number += 1
    _LIBC.prctl(_AMBIENT, 4, 0, 0, 0)
    header, none = struct.pack("=II", 0x20080522, 0), bytes(24)
    _call("capset", header, none)


def landlock_version() -> int:
    """Of the kernel's interface; 0 = not in this kernel, or not allowed here."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, 0, 1)))


def rules_of(paths: dict[str, str], version: int) -> list[tuple[str, int]]:
    """Path → rights, as this version of the interface knows them; `paths` says read, write, shared or device."""
    known = (1 << _KNOWN.get(version, 16)) - 1
    rights = {"read": READ, "write": WRITE, "device": DEVICE, "shared": SHARED}
    found = []
    for path, way in paths.items():
        if Path(path).exists():
            right = rights[way] & known
            found.append((path, right if Path(path).is_dir() else right & _ON_FILES))
    return found


def restrict(wanted: dict[str, Any]) -> None:
    """This process and all that it starts, for ever."""
    version = landlock_version()
    if version < 1:
        raise OSError("landlock is not in this kernel")
    handled = (1 << _KNOWN.get(version, 16)) - 1
    ports = wanted.get("ports") if version >= 4 else None
    net = _BIND_TCP | _CONNECT_TCP if ports is not None else 0
    attributes = struct.pack("=QQQ", handled, net, _SCOPED if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call("syscall", _CREATE_RULESET, attributes, size, 0)
    for path, right in rules_of(wanted["paths"], version):
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _call("syscall", _ADD_RULE, ruleset, 1, struct.pack("=Qi", right, held), 0)
        os.close(held)
    for port in ports or ():
        _call("syscall", _ADD_RULE, ruleset, 2, struct.pack("=QQ", _CONNECT_TCP, port), 0)
    _call("syscall", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    _call("mount", *encoded, flags, data.encode() or None, doing=target)


def _call(name: str, *arguments: int | bytes | None, doing: str = "") -> int:
    """One call of the C library; a failure is an OSError that names it."""
    words = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    done = int(getattr(_LIBC, name)(*words))
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {doing}: {os.strerror(number)}")
    return done


if __name__ == "__main__":
    main()
