"""The demo's web service and its supervisor, which has a control socket as real ones have.

    python -m receiver.demo.service DIRECTORY

The supervisor answers HTTP on `web/control.sock`: `GET /status` and `POST /restart`. It does not restart a
dead service by itself: that is what the playbook is for. The service answers on `web/web.sock`.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

from receiver.demo.lifeline import die_with_parent

#: how long a service may take until it answers
START_SECONDS = 5.0


class _Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self) -> str:
        """A unix socket has no address to log."""
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def answer(self, status: int, body: dict[str, object]) -> None:
        """A small JSON answer."""
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # a probe that has read enough
            self.wfile.write(text)


class _Server(socketserver.UnixStreamServer):
    """One request at a time, in the main thread: the kernel's death signal follows the thread that forked."""

    def __init__(self, path: str, handler: type[_Handler]) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        super().__init__(path, handler)
        Path(path).chmod(0o600)


class Supervisor:
    """Keeps one child, the web service, and starts it anew when asked."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def restart(self) -> dict[str, object]:
        """Stop what runs, start a new one, wait until it answers."""
        with self._lock:
            self.stop()
            self._child = subprocess.Popen([sys.executable, "-m", "receiver.demo.service", "--web"])
            Path("web.pid").write_text(str(self._child.pid))
            end = time.monotonic() + START_SECONDS
            while not Path("web.sock").exists() and time.monotonic() < end:
                time.sleep(0.02)
            return self.status()

    def status(self) -> dict[str, object]:
        """Whether the child lives, and its pid."""
        child = self._child
        return {"running": child is not None and child.poll() is None, "pid": child.pid if child else None}

    def stop(self) -> None:
        """End the child and remove its socket."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
        with contextlib.suppress(FileNotFoundError):
            Path("web.sock").unlink()


def supervise(directory: Path) -> None:
    """Serve the control socket until a signal comes."""
    os.chdir(directory / "web")  # socket paths stay short
    supervisor = Supervisor()

    class Control(_Handler):
        def do_GET(self) -> None:
            self.answer(200, supervisor.status()) if self.path == "/status" else self.answer(404, {})

        def do_POST(self) -> None:
            self.answer(200, supervisor.restart()) if self.path == "/restart" else self.answer(404, {})

    supervisor.restart()
    server = _Server("control.sock", Control)
    _serve(server)
    supervisor.stop()


def serve_web() -> None:
    """The service itself: one page."""

    class Page(_Handler):
        def do_GET(self) -> None:
            self.answer(200, {"demo": "hello"})

    _serve(_Server("web.sock", Page))


def _serve(server: _Server) -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    if sys.argv[1] == "--web":
        serve_web()
    else:
        supervise(Path(sys.argv[1]))
