"""Starting `up` as a process of its own, and looking for what it leaves behind."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GITMEDIC_")}
    return kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | more


def gitmedic(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    options = {"env": environment(), "timeout": 60, "stdin": subprocess.DEVNULL} | options
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments], capture_output=True, text=True, check=False, **options
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_of(data_dir: Path) -> dict[int, str]:
    """Every living process that was started for this data directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not alive(int(entry.name)):
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            known = (entry / "environ").read_bytes()
            if str(data_dir).encode() in command or f"GITMEDIC_DATA_DIR={data_dir}\0".encode() in known:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_until(question, seconds: float = 20.0, what: str = "it"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@dataclass
class Up:
    """A running `up`; `log` has its log lines as objects."""

    data_dir: Path
    port: int = field(default_factory=free_port)
    program: tuple[str, ...] = (sys.executable, "-m", "receiver", "up")
    more: dict[str, str] = field(default_factory=dict)
    log: list[dict] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __enter__(self) -> "Up":
        told = {"GITMEDIC_DATA_DIR": str(self.data_dir), "GITMEDIC_LISTEN": f"127.0.0.1:{self.port}"}
        self.process = subprocess.Popen(
            self.program, env=environment(**told) | self.more, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.said: queue.Queue[str] = queue.Queue()
        for stream, take in ((self.process.stdout, self.said.put), (self.process.stderr, self._took)):
            threading.Thread(target=lambda s=stream, t=take: [t(row) for row in s], daemon=True).start()
        return self

    def _took(self, row: str) -> None:
        self.text.append(row)
        with contextlib.suppress(ValueError):
            self.log.append(json.loads(row))

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for pid in processes_of(self.data_dir):  # only those of this very directory
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def words(self) -> str:
        return "".join(self.text)

    def ready(self, seconds: float = 40.0) -> "Up":
        def said() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"up ended with {self.process.returncode}: {self.words}")
            with contextlib.suppress(queue.Empty):
                return bool(re.search("is ready: http://", self.said.get_nowait()))
            return False

        wait_until(said, seconds, f"the ready line; {self.words}")
        return self

    def pids(self) -> dict[str, int]:
        """The latest pid of each part."""
        events = ("child.started", "postgres.started")
        return {row.get("child", "postgres"): row["pid"] for row in self.log if row.get("event") in events}

    def end(self, number: signal.Signals, seconds: float = 30.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)
