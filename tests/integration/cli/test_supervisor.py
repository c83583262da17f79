"""`up` as a process with a real PostgreSQL and stand-ins for its children: nothing dies alone, nothing stays."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.integration.cli.processes import HERE, Up, alive, environment, processes_of, wait_until
from tests.machine import quick_folder

FAKE = (sys.executable, str(HERE / "fake_up.py"))


@pytest.fixture
def data_dir():
    """Where also root's PostgreSQL user may go."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    (folder / "d").mkdir()
    folder.chmod(0o755)
    yield folder / "d"
    shutil.rmtree(folder)


def _up(data_dir, **given) -> Up:
    return Up(data_dir, program=FAKE, **given)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_everything(data_dir, number, code):
    with _up(data_dir) as up:
        up.ready()
        assert set(up.pids()) == {"serve", "plan", "execute", "postgres"}
        assert up.end(number) == code
        assert processes_of(data_dir) == {}


@pytest.mark.parametrize("name", ["serve", "plan", "execute", "postgres"])
def test_a_killed_part_is_started_again(data_dir, name):
    with _up(data_dir) as up:
        before = up.ready().pids()[name]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: up.pids()[name] != before and alive(up.pids()[name]), what=f"a new {name}")
        assert any("SIGKILL" in str(row) or row.get("event") == "postgres.ended" for row in up.log)
        assert up.end(signal.SIGTERM) == 143
        assert processes_of(data_dir) == {}


def test_everything_dies_with_a_killed_supervisor(data_dir):
    with _up(data_dir) as up:
        up.ready()
        up.process.kill()
        up.process.wait()
        wait_until(lambda: not processes_of(data_dir), 10, f"the end of {processes_of(data_dir)}")


def test_a_second_owner_is_refused_with_the_pid_of_the_first(data_dir):
    with _up(data_dir) as first:
        first.ready()
        with _up(data_dir) as second:
            assert second.process.wait(20) == 1
            wait_until(lambda: f"process {first.process.pid} owns it already" in second.words)
            assert alive(first.pids()["postgres"])
            assert Path((data_dir / "postgres.socket").read_text()).is_dir()


def test_a_port_in_use_is_refused_before_anything_starts(data_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with _up(data_dir, port=taken.getsockname()[1]) as up:
            assert up.process.wait(10) == 1
            wait_until(lambda: "Address already in use" in up.words)
            assert not (data_dir / "postgres").exists()


@pytest.mark.parametrize("name", ["serve", "execute"])
def test_a_child_that_cannot_start_is_not_started_for_ever(data_dir, name):
    (data_dir / f"{name}.wish").write_text("exit 3")
    with _up(data_dir) as up:
        assert up.process.wait(30) == 1
        wait_until(lambda: f"starting {name}: it ended with code 3" in up.words)
        assert processes_of(data_dir) == {}


def test_a_child_that_crashes_at_once_is_given_up_after_some_tries(data_dir):
    (data_dir / "plan.wish").write_text("exit 1")
    with _up(data_dir) as up:
        # the others are fine, so it is ready only when all run: it never is
        assert up.process.wait(60) == 1
        wait_until(lambda: "starting plan: it ended with code 1" in up.words)


def test_after_ready_a_child_with_a_bad_setting_takes_nothing_with_it(data_dir):
    with _up(data_dir) as up:
        up.ready()
        (data_dir / "plan.wish").write_text("exit 3")
        os.kill(up.pids()["plan"], signal.SIGKILL)
        wait_until(lambda: any(row.get("ended") == "ended with code 3" for row in up.log), what="its end")
        assert up.process.poll() is None
        assert alive(up.pids()["serve"])


def test_a_second_signal_kills(data_dir):
    (data_dir / "execute.wish").write_text("stubborn")
    with _up(data_dir) as up:
        up.ready()
        up.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert up.process.poll() is None
        began = time.monotonic()
        assert up.end(signal.SIGINT) == 130
        assert time.monotonic() - began < 5
        assert processes_of(data_dir) == {}


@pytest.mark.parametrize("seconds", [0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0])
def test_ctrl_c_at_any_moment_of_the_start_ends_it(data_dir, seconds):
    with _up(data_dir) as up:
        time.sleep(seconds)
        up.process.send_signal(signal.SIGINT)
        up.process.wait(30)
        assert processes_of(data_dir) == {}
    with _up(data_dir) as again:
        again.ready()
        assert again.end(signal.SIGTERM) == 143


def test_a_child_that_begins_again_without_what_is_not_its_own_still_speaks_to_its_supervisor(data_dir):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        told = {"GITMEDIC_LIFELINE": str(theirs.fileno()), "GITMEDIC_PARENT": str(os.getpid()), "STRANGE": "x"}
        argv = [sys.executable, "-m", "receiver", "work", "--role", "execute", "--data-dir", str(data_dir)]
        with subprocess.Popen(
            argv, env=environment(**told), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ):  # fmt: skip
            theirs.close()
            ours.settimeout(120)
            assert ours.recv(1) == b"b"
