"""The keeper of a run: what it shuts in, and that nothing of it outlives its end, whoever ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner import keeper, sandbox
from receiver.adapters.runner.sandbox import (
    APART_JOB,
    Cell,
    give_to,
    keeper_argv,
    landlock_paths,
    write_passwd,
)
from tests.machine import landlock

PYTHON = [sys.executable, "-I", "-S", "-c"]
#: another session, an empty environment, no parent
STRAY = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})
    os._exit(0)
os.wait()
print("started", flush=True)
time.sleep(float(sys.argv[2]))
"""


def sleepers(seconds: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += [int(entry.name)] if (entry / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode() else []
            except OSError:
                continue
    return found


def until(done: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture
def seconds() -> Iterator[str]:
    """How long a stray sleeps: its name; a test that fails leaves none."""
    name = str(100_000 + time.time_ns() % 1_000_000)
    yield name
    for pid in sleepers(name):
        os.kill(pid, signal.SIGKILL)


def cell(base: Path) -> Cell:
    return Cell(scratch=base)


def test_what_left_its_session_and_its_environment_ends_as_well(tmp_path: Path, seconds: str) -> None:
    argv = keeper_argv(cell(tmp_path), landlock=False)
    done = subprocess.run([*argv, *PYTHON, STRAY, seconds, "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    assert sleepers(seconds) == []


def test_told_to_stop_it_ends_all(tmp_path: Path, seconds: str) -> None:
    argv = keeper_argv(cell(tmp_path), landlock=False)
    with subprocess.Popen([*argv, *PYTHON, STRAY, seconds, "60"], stdout=subprocess.PIPE, text=True) as process:
        until(lambda: sleepers(seconds))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert sleepers(seconds) == []


def test_with_the_executor_ends_what_left_its_environment(tmp_path: Path, seconds: str) -> None:
    script = """
import subprocess, sys
from pathlib import Path
from receiver.adapters.runner.sandbox import Cell, keeper_argv
subprocess.run([*keeper_argv(Cell(scratch=Path(sys.argv[1])), landlock=False), *sys.argv[2:]])
"""
    executor = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), *PYTHON, STRAY, seconds, "60"])
    try:
        until(lambda: sleepers(seconds))
    finally:
        executor.kill()
        executor.wait()
    until(lambda: not sleepers(seconds))


def test_the_exit_code_is_the_programs_and_what_fails_before_is_said(tmp_path: Path) -> None:
    argv = keeper_argv(cell(tmp_path), landlock=False)
    assert subprocess.run([*argv, *PYTHON, "raise SystemExit(7)"], check=False).returncode == 7
    broken = subprocess.run([*argv, "/no/such/program"], capture_output=True, text=True, check=False)
    assert broken.returncode == 125 and "shutting the run in: " in broken.stderr


def test_no_capability_is_left(tmp_path: Path) -> None:
    landlock()
    show = "print(open('/proc/self/status').read())"
    paths = {"/proc": "read", "/usr": "read"} | dict.fromkeys(landlock_paths(cell(tmp_path)), "read")
    spec = json.loads(keeper_argv(cell(tmp_path), landlock=True)[-1])
    spec["landlock"] = {"paths": paths, "ports": None}
    argv = [*keeper_argv(cell(tmp_path), landlock=True)[:-1], json.dumps(spec)]
    done = subprocess.run([*argv, *PYTHON, show], capture_output=True, text=True, check=False)
    fields = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert (int(fields["CapEff"], 16), int(fields["CapPrm"], 16), fields["NoNewPrivs"]) == (0, 0, "1"), done.stderr
    assert os.geteuid() != 0 or int(fields["CapBnd"], 16) == 0


@pytest.mark.parametrize(
    ("version", "file_right", "write_has"),
    [
        (1, keeper.EXECUTE | keeper.READ_FILE, 0),
        (2, keeper.EXECUTE | keeper.READ_FILE, keeper.REFER),
        (3, keeper.EXECUTE | keeper.READ_FILE, keeper.REFER | keeper.TRUNCATE),
        (7, keeper.EXECUTE | keeper.READ_FILE, keeper.REFER | keeper.TRUNCATE),
    ],
)
def test_the_rules_ask_for_what_the_kernel_knows(tmp_path: Path, version: int, file_right: int, write_has: int) -> None:
    wanted = {"/etc/hosts": "read", "/usr": "read", str(tmp_path): "write", "/dev/null": "device", "/no/such": "read"}
    rules = dict(keeper.rules_of(wanted, version))
    assert "/no/such" not in rules and rules["/etc/hosts"] == file_right  # a file has no rights of folders
    assert rules["/usr"] == keeper.READ
    assert rules[str(tmp_path)] & (keeper.REFER | keeper.TRUNCATE) == write_has
    assert rules[str(tmp_path)] & (keeper.MAKE_CHAR | keeper.MAKE_BLOCK) == 0  # no device node anywhere
    assert bool(rules["/dev/null"] & keeper.IOCTL_DEV) == (version >= 5)


def test_what_a_run_under_landlock_may_open(tmp_path: Path) -> None:
    paths = landlock_paths(cell(tmp_path))
    assert paths[str(tmp_path)] == "write" and paths["/usr"] == "read"
    assert not {"/", "/proc", "/etc", "/run", "/tmp", "/var", "/home", "/root"} & set(paths)
    assert [path for path, way in paths.items() if way == "write"] == [str(tmp_path)]


def apart(base: Path, uid: int | None, program: str, *arguments: str, **more: Any) -> str:
    """What a program says that is shut in with mounts of its own."""
    landlock()
    if os.geteuid():
        pytest.skip("only root gives a run mounts of its own")
    place = base / "run"
    place.mkdir()
    write_passwd(place, APART_JOB, uid)
    if uid is not None:
        give_to(place, uid)
    argv = keeper_argv(Cell(scratch=place, kind="apart", uid=uid, **more), landlock=True)
    done = subprocess.run([*argv, *PYTHON, program, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    return done.stdout


CONNECT = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("came")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("uid", [None, 61200])
def test_a_socket_in_a_place_of_roots_is_not_reached(tmp_path: Path, uid: int | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir="/var/lib"))
    try:
        folder.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "sock"))
            listening.listen()
            (folder / "sock").chmod(0o777)
            assert (
                subprocess.run([*PYTHON, CONNECT, folder / "sock"], capture_output=True, check=True).stdout == b"came\n"
            )
            assert apart(tmp_path, uid, CONNECT, str(folder / "sock")) == "FileNotFoundError\n"
    finally:
        shutil.rmtree(folder)


WRITE = """
import sys
for path in sys.argv[1:]:
    try:
        open(path, "w").close()
        print("done")
    except OSError as error:
        print(error.strerror)
"""


def test_a_program_below_a_declared_path_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, inner = tmp_path / "declared" / "program", tmp_path / "declared" / "program" / "data"
    inner.mkdir(parents=True)
    real = sandbox.program_places()
    monkeypatch.setattr(sandbox, "program_places", lambda: [*real, program])
    wanted = [str(place / "new") for place in (tmp_path / "declared", program, inner)]
    said = apart(tmp_path, None, WRITE, *wanted, writable=(str(inner), str(tmp_path / "declared")))
    # a directory that is declared for itself stays writable
    assert said.splitlines() == ["done", "Read-only file system", "done"]
    assert not (program / "new").exists() and (inner / "new").exists()


@pytest.mark.parametrize("uid", [None, 61200])
def test_the_private_place_is_not_written(tmp_path: Path, uid: int | None) -> None:
    place = tmp_path / "agent"
    place.mkdir()
    (place / "secret").write_text("canary")
    if uid is not None:
        give_to(place, uid)
    inside = APART_JOB / "agent"
    said = apart(tmp_path, uid, WRITE, str(inside / "new"), str(APART_JOB / "new"), agent=place)
    assert said.splitlines() == ["Read-only file system", "done"]
    assert [file.name for file in place.iterdir()] == ["secret"]
    assert landlock_paths(Cell(scratch=tmp_path, agent=place))[str(place)] == "read"  # where nothing can be mounted
