"""The rungs of isolation as command lines: what stands before the program that is shut in.

`netns`: as `bwrap`, and no network but a gate to the approved hosts. `bwrap`: own user, process, IPC and mount
namespaces, no capability, the system read-only, nothing of /home, of the data directory or of other users; the
network is shared. `landlock`: the kernel refuses paths, signals and tracing, and as root another uid and mounts of
its own. `none`: a process like any other, only where the policy allows it. Decides nothing about which one: the
ladder does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import receiver
from receiver.adapters.runner.seen import NAME
from receiver.domain.run import Rung

#: read-only, where they exist: name resolution, certificates, the linker, time zones
_ETC = (
    "resolv.conf", "hosts", "nsswitch.conf", "ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "ca-certificates",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "gai.conf", "protocols", "services",
)  # fmt: skip
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
#: beside these; /tmp, /var/tmp and /dev/shm are the run's own
_KEPT = ("usr", "etc", "proc", "sys", "dev", "tmp")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
#: what says nothing about other processes
_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "sys")
JOB = Path("/job")
#: the rungs that bubblewrap makes
BY_BWRAP: tuple[Rung, ...] = ("netns", "bwrap")
#: where the run's directory lies under the rung `landlock` with mounts of its own
APART_JOB = Path("/run/job")
#: what /tmp and /dev/shm may hold, each
_TMP_MB = 64

#: the kinds of the rung `landlock`: as root with mounts and a uid of its own; as root where no mount is allowed, as
#: the account `nobody`; as an ordinary user, who has no other uid
LandlockKind = Literal["apart", "nobody", "same"]


@dataclass(frozen=True)
class Cell:
    """What one run needs of its sandbox."""

    scratch: Path
    writable: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    agent: Path | None = None
    ports: tuple[int, ...] | None = None  #: the only ones to connect to; None = any
    scratch_mb: int = 256
    processes: int = 256
    kind: LandlockKind = "same"
    uid: int | None = None  #: of the run's own, where it has one
    environment: dict[str, str] = field(default_factory=dict)
    cgroups: tuple[Path, ...] = ()


def command(rung: Rung, cell: Cell, bwrap: str) -> list[str]:
    """The command line up to the program that is shut in."""
    if rung in BY_BWRAP:
        join = [part for group in cell.cgroups for part in ("-c", str(group))]
        joined = ["/bin/sh", "-c", _JOIN, "sh", *map(str, cell.cgroups), "--"] if join else []
        return [*joined, *bwrap_argv(bwrap, cell, network=rung == "bwrap")]
    return keeper_argv(cell, landlock=rung == "landlock")


#: enters each group that is named before `--`, then becomes the program
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'


def seen_at(rung: Rung, cell: Cell) -> Path:
    """Where the run sees its own directory."""
    if rung in BY_BWRAP:
        return JOB
    return APART_JOB if rung == "landlock" and cell.kind == "apart" else cell.scratch


def bwrap_argv(bwrap: str, cell: Cell, *, network: bool) -> list[str]:
    """bubblewrap: sizes are bounded wherever the run can write, and the rest is read-only."""
    argv = [
        bwrap, "--unshare-all", *(["--share-net"] if network else []), "--cap-drop", "ALL", "--die-with-parent",
        "--new-session", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev",
        *_bounded("/dev/shm", _TMP_MB), "--remount-ro", "/dev", *_bounded("/tmp", _TMP_MB),  # noqa: S108 - inside
        "--dir", "/run", "--dir", "/etc",
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
    argv += _bounded(str(JOB), cell.scratch_mb)
    for given in sorted(cell.scratch.iterdir()):
        argv += ["--ro-bind", str(given), str(JOB / given.name)]
    argv += ["--ro-bind", str(cell.scratch / "passwd"), "/etc/passwd"]
    if cell.agent is not None:
        # read-only: it lies in memory, without a bound; its socket answers all the same
        argv += ["--ro-bind", str(cell.agent), str(JOB / "agent")]
    for path in (*cell.writable, *cell.sockets):
        argv += ["--bind", path, path]
    return [*argv, "--remount-ro", "/", "--chdir", str(JOB), "--"]


def _bounded(place: str, megabytes: int) -> list[str]:
    return ["--size", str(megabytes << 20), "--tmpfs", place]


def keeper_argv(cell: Cell, *, landlock: bool) -> list[str]:
    """The keeper, told what to shut in."""
    is_apart = landlock and cell.kind == "apart"
    job = seen_at("landlock" if landlock else "none", cell)
    shown = [(Path(path), path) for path in (*cell.writable, *cell.sockets)] if is_apart else []
    shown += [(cell.scratch, str(job))] if is_apart else []
    fixed = [(place, str(place)) for place in program_places()] if is_apart else []
    # it lies in memory, without a bound; its socket answers all the same
    fixed += [(cell.agent, str(job / NAME))] if is_apart and cell.agent is not None else []
    spec: dict[str, Any] = {
        "parent": os.getpid(),
        "environment": cell.environment,
        "cgroups": [str(group) for group in cell.cgroups],
        "namespaces": is_apart,
        "job": str(job),
        "shown": [(str(source), target) for source, target in shown],
        "fixed": [(str(source), target) for source, target in fixed],
        "covered": covered() if is_apart else [],
        "tmp_mb": _TMP_MB,
        "uid": cell.uid if landlock else None,
        "gid": cell.uid if landlock else None,
        "limits": {"RLIMIT_NPROC": cell.processes} if landlock and cell.uid is not None else {},
        "landlock": {"paths": landlock_paths(cell), "ports": cell.ports} if landlock else None,
    }
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), json.dumps(spec)]


def covered() -> list[str]:
    """What is replaced by an empty place: all of the machine that no program is made of, with its sockets."""
    with os.scandir("/") as entries:  # asks nothing of a place itself: it may be a server that does not answer
        folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(folder for folder in folders if folder[1:] not in (*_SYSTEM, *_KEPT))


def landlock_paths(cell: Cell) -> dict[str, str]:
    """Path → read, write or device; what is not below one of them cannot be opened."""
    is_apart = cell.kind == "apart"
    read = ["/usr", *(f"/{name}" for name in _SYSTEM), *(f"/etc/{name}" for name in (*_ETC, "passwd", "group"))]
    read += [*map(str, program_places()), *(["/proc"] if is_apart else [f"/proc/{name}" for name in _PROC])]
    read += ["/sys/devices/system/cpu", os.path.realpath("/etc/resolv.conf")]
    write = [str(seen_at("landlock", cell)), *cell.writable, *cell.sockets]
    write += ["/tmp", "/var/tmp", "/dev/shm"] if is_apart else []  # noqa: S108 - empty ones of its own
    shared = [] if is_apart else ["/dev/shm"]  # noqa: S108 - Ansible's processes talk by semaphores that lie there
    read += [str(cell.agent)] if cell.agent is not None else []
    return (
        dict.fromkeys(read, "read") | dict.fromkeys([f"/dev/{name}" for name in _DEVICES], "device")
        | dict.fromkeys(write, "write") | dict.fromkeys(shared, "shared")
    )  # fmt: skip


def program_places() -> list[Path]:
    """Where this very program lives: its environment, its Python and the package, outside /usr."""
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(receiver.__path__[0])]
    kept: list[Path] = []
    for place in sorted({*places, *(place.resolve() for place in places)}):
        if not place.is_relative_to("/usr") and not any(place.is_relative_to(one) for one in kept):
            kept.append(place)
    return kept


def write_passwd(scratch: Path, home: Path, uid: int | None = None) -> None:
    """Two lines: ssh asks who it is, and refuses a uid without a name."""
    uid = os.getuid() if uid is None else uid
    gid = os.getgid() if uid == os.getuid() else uid
    lines = [f"gitmedic:x:{uid}:{gid}::{home / 'home'}:/bin/sh", "nobody:x:65534:65534::/:/bin/false"]
    (scratch / "passwd").write_text("\n".join(lines) + "\n")


def give_to(folder: Path, uid: int) -> None:
    """A directory and all in it, to the run's own uid; links are not followed."""
    os.lchown(folder, uid, uid)
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.lchown(Path(top, name), uid, uid)


def texts(paths: Iterable[str]) -> tuple[str, ...]:
    """Those that are there."""
    return tuple(path for path in paths if Path(path).exists())
