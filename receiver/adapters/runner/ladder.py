"""Which rung of isolation this machine has: decided by trying to escape from each, strongest first.

A rung is believed only when this very Python started inside it and every attempt that it claims to stop failed there.
What a rung does not claim is tried as well, so that `doctor` can say what it does not stop. Refuses nothing itself:
`none` is an answer, and the policy decides whether a run may go without.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from receiver.adapters.runner import escape, groups
from receiver.adapters.runner.keeper import landlock_version
from receiver.adapters.runner.sandbox import (
    Cell,
    LandlockKind,
    command,
    give_to,
    program_places,
    seen_at,
    write_passwd,
)
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Rung

#: uids that systemd hands out to services for their lifetime; one that nobody has is taken
_FIRST_UID, _LAST_UID = 61184, 65519
_BWRAP = (0, 7)  # the first that bounds the size of what a run can write
#: what is judged by the attempt itself; the other two are judged from outside, by the tests
_TRIED = [name for name in escape.ATTEMPTS if name not in ("temporary", "daemon")]
#: what each rung need not stop to be one
_MAY_WORK: dict[Rung, set[str]] = {
    "netns": set(),
    "bwrap": {"network", "abstract_socket"},
    "landlock": {"network", "abstract_socket", "unix_socket", "shared_memory", "commands", "signal"},
}
_START = "import runpy, ssl, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


@dataclass(frozen=True)
class Found:
    """The rung, why no higher one, and what this one does not stop."""

    rung: Rung
    kind: LandlockKind = "same"
    why_not: dict[Rung, str] = field(default_factory=dict)
    open: tuple[str, ...] = ()  #: names of attempts that worked
    groups: str = ""  #: what of the limits no control group holds, and why

    @property
    def words(self) -> str:
        """In one sentence, as `doctor` says it."""
        higher = "; ".join(f"not {rung}: {why}" for rung, why in self.why_not.items())
        open_to = "; ".join(first_words(name) for name in self.open)
        stops = "stops nothing" if self.rung == "none" else f"does not stop: {open_to}" if open_to else ""
        held = f"{self.groups}; they are looked at twice a second" if self.groups else ""
        parts = [stops, higher, held]
        return ". ".join(filter(None, [self.rung, *parts]))


def first_words(name: str) -> str:
    """What an attempt means, in words."""
    text = (escape.ATTEMPTS[name].__doc__ or name).strip().splitlines()[0].rstrip(".")
    return text[:1].lower() + text[1:]


def find(settings: RunnerSettings, scratch: Path) -> Found:
    """The strongest rung that holds, and what holds limits; blocking, some tenths of a second."""
    return replace(_strongest(settings, scratch), groups=groups.lacking())


def _strongest(settings: RunnerSettings, scratch: Path) -> Found:
    why_not: dict[Rung, str] = {}
    wanted: tuple[Rung, ...] = (settings.rung,) if settings.rung else ("netns", "bwrap", "landlock")
    for rung in wanted:
        for kind in kinds() if rung == "landlock" else ("same",):
            open_to, why = probe(rung, kind, settings.bwrap, scratch)
            if not why:
                return Found(rung, kind, why_not, open_to)
            why_not[rung] = f"{why_not[rung]}; {kind}: {why}" if rung in why_not else why
    return Found("none", "same", why_not, tuple(_TRIED))


def kinds() -> tuple[LandlockKind, ...]:
    """Of the rung `landlock`, for who we are."""
    return ("apart", "nobody") if os.getuid() == 0 else ("same",)


def uid_for(kind: LandlockKind) -> int | None:
    """A uid of a run's own: one without an account and without a process, where it can be had."""
    if kind != "apart":
        return next(iter(uids_of(kind)), None)
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                taken.add(entry.stat().st_uid)
    return secrets.choice([uid for uid in uids_of(kind) if uid not in taken])


def uids_of(kind: LandlockKind) -> Sequence[int]:
    """Every uid that a run of this kind may have, beside our own."""
    if kind == "nobody":
        return (pwd.getpwnam("nobody").pw_uid,)
    return range(_FIRST_UID, _LAST_UID) if kind == "apart" else ()


def probe(rung: Rung, kind: LandlockKind, bwrap: str, scratch: Path) -> tuple[tuple[str, ...], str]:
    """What worked of what a rung need not stop; and why it is none, when it is none."""
    absent = _absent(rung, bwrap)
    if absent:
        return (), absent
    place = Path(tempfile.mkdtemp(prefix="probe-", dir=scratch_root(kind, scratch)))
    worked: dict[str, None] = {}
    try:
        for number, uid in enumerate(_uids_to_try(rung, kind)):
            place.chmod(0o711)
            own = place / str(number)
            own.mkdir(mode=0o700)
            with decoys(own) as given:
                found, why = _try(rung, kind, uid, shutil.which(bwrap) or bwrap, own / "run", given)
            worked |= dict.fromkeys(found)
            if why:
                return (), why
    except OSError as error:
        return (), f"trying it: {error}"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    not_stopped = [first_words(name) for name in worked if name not in _MAY_WORK[rung]]
    if not_stopped:
        return (), f"it did not stop a run that tried to {', '.join(not_stopped)}"
    return tuple(worked), ""


def _uids_to_try(rung: Rung, kind: LandlockKind) -> tuple[int | None, ...]:
    """As whom runs are on this rung: with mounts of its own, one that declares paths of the machine stays root."""
    if rung != "landlock":
        return (None,)
    return (uid_for(kind), None) if kind == "apart" else (uid_for(kind),)


def scratch_root(kind: LandlockKind, scratch: Path) -> Path:
    """Where runs have their directories: another uid must be able to walk there, where nothing can be mounted."""
    return Path("/var/tmp") if kind == "nobody" else scratch  # noqa: S108 - a directory of its own in it, mode 0700


def _absent(rung: Rung, bwrap: str) -> str:
    if rung == "landlock":
        return "" if landlock_version() else "landlock is not in this kernel"
    program = shutil.which(bwrap)
    if program is None:
        return f"{bwrap} is not installed: apt install bubblewrap"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    numbers = tuple(int(part) for part in said[-1].split(".")[:2] if part.isdigit()) if said else ()
    return "" if numbers >= _BWRAP else f"bubblewrap {'.'.join(map(str, numbers))} is older than 0.7"


def _try(
    rung: Rung, kind: LandlockKind, uid: int | None, bwrap: str, folder: Path, given: dict[str, Any]
) -> tuple[list[str], str]:
    folder.mkdir(mode=0o700)
    cell = Cell(scratch=folder, ports=() if rung == "netns" else None, kind=kind, uid=uid)
    write_passwd(folder, seen_at(rung, cell), uid)
    if uid is not None:
        folder.parent.chmod(0o711)
        give_to(folder, uid)
    own = {**given, "own": str(seen_at(rung, cell)), "attempts": _TRIED, "setuid": str(seen_at(rung, cell) / "cat")}
    shutil.copy("/bin/cat", folder / "cat")
    (folder / "cat").chmod(0o4755)  # root's, when root makes it: the run must stay what it is
    program = [sys.executable, "-I", "-c", _START, str(Path(escape.__file__)), json.dumps(own)]
    try:
        done = subprocess.run(
            [*command(rung, cell, bwrap), *program],
            capture_output=True, text=True, timeout=30, check=False, env={"LC_ALL": "C.UTF-8"}, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    try:
        return [str(name) for name in json.loads(done.stdout)], ""
    except ValueError:
        return [], (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


@contextlib.contextmanager
def decoys(place: Path) -> Iterator[dict[str, Any]]:
    """What an attempt is aimed at: a secret, a process, sockets and a port of our own making; all go again."""
    name = f"gm-probe-{secrets.token_hex(6)}"
    (place / "secret").write_text("the password")
    (place / "secret").chmod(0o600)
    written = {"outside": place / name, "program": Path(escape.__file__).with_name(f".{name}")}
    shared, sockets = Path("/dev/shm", name), []  # noqa: S108 - the place of shared memory
    with contextlib.suppress(OSError):
        shared.touch(mode=0o600)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", name],
        stdin=subprocess.PIPE, env={"SECRET": "the password"},
    )  # fmt: skip
    try:
        own = os.open(place, os.O_PATH)
        for family, address in (
            (socket.AF_UNIX, f"/proc/self/fd/{own}/sock"),  # a socket's path may have 107 bytes
            (socket.AF_UNIX, f"\0{name}"),
            (socket.AF_INET, ("127.0.0.1", 0)),
        ):
            sockets.append(socket.socket(family))
            sockets[-1].bind(address)
            sockets[-1].listen()
        os.close(own)
        yield {
            "name": name, "secret": str(place / "secret"), "pid": process.pid, "socket": str(place / "sock"),
            "abstract": name, "port": sockets[-1].getsockname()[1], "shared": str(shared),
            **{key: str(path) for key, path in written.items()}, **_home(),
        }  # fmt: skip
    finally:
        process.kill()
        process.communicate()
        for one in sockets:
            one.close()
        for path in (*written.values(), shared, Path("/usr/local", name)):
            with contextlib.suppress(OSError):
                path.unlink()


def _home() -> dict[str, str]:
    """Something in the executor's home that no program of ours lies in."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir) if _has_account() else Path("/nonexistent")
    try:
        entries = [one for one in home.iterdir() if not any(p.is_relative_to(one) for p in program_places())]
    except OSError:
        entries = []
    return {"home": str(home), "home_entry": entries[0].name} if entries else {}


def _has_account() -> bool:
    try:
        return bool(pwd.getpwuid(os.getuid()))
    except KeyError:
        return False
