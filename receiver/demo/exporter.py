"""The demo's exporter, a process of its own: measures the demo directory and the demo web service.

    python -m receiver.demo.exporter DIRECTORY PORT_FILE

Reads only; every value is measured at the moment it is asked for. Writes the port it listens on to PORT_FILE.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from receiver.demo.lifeline import die_with_parent


def cache_bytes(directory: Path) -> int:
    """Size of all files in the demo cache."""
    total = 0
    for entry in (directory / "cache").iterdir():
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue
    return total


def web_is_up(directory: Path) -> bool:
    """Whether the demo web service answers on its socket."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(os.path.relpath(directory / "web" / "web.sock"))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def render(directory: Path) -> str:
    """The metrics page in the Prometheus text format."""
    path = json.dumps(str(directory / "cache"))
    lines = [
        "# HELP demo_cache_bytes Size of the demo cache.",
        "# TYPE demo_cache_bytes gauge",
        f'demo_cache_bytes{{host="demo-cache",path={path}}} {cache_bytes(directory)}',
        "# HELP demo_web_up Whether the demo web service answers.",
        "# TYPE demo_web_up gauge",
        f'demo_web_up{{host="demo-web",service="web"}} {int(web_is_up(directory))}',
        "# HELP demo_mystery Whether something is wrong that no playbook can mend.",
        "# TYPE demo_mystery gauge",
        f'demo_mystery{{host="demo-cache"}} {int((directory / "mystery").exists())}',
        "# HELP demo_queue_stuck Whether the demo queue is stuck.",
        "# TYPE demo_queue_stuck gauge",
        f'demo_queue_stuck{{host="demo-queue"}} {int((directory / "queue" / "stuck").exists())}',
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Serve until a signal comes or the parent is gone."""
    directory, port_file = Path(arguments[0]).resolve(), Path(arguments[1])
    die_with_parent()
    os.chdir(directory)  # a socket path below it is then short, whatever the directory's own length

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = render(directory).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    partial = port_file.with_suffix(".part")
    partial.write_text(str(server.server_address[1]))
    partial.replace(port_file)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main(sys.argv[1:])
