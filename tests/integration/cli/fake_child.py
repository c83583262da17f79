"""Stands in for `gitmedic serve` and `gitmedic work` under the supervisor. What it does lies in its directory."""

import http.server
import os
import signal
import sys
import threading
import time
from pathlib import Path

from receiver.supervisor import hold_lifeline

begun = hold_lifeline()
folder = Path(os.environ["GITMEDIC_DATA_DIR"])
name = sys.argv[1] if sys.argv[1] == "serve" else sys.argv[3]
wish = folder / f"{name}.wish"
word = wish.read_text() if wish.exists() else ""
if word.startswith("exit "):
    sys.exit(int(word.split()[1]))
if word == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_):
        return


if name == "serve":
    host, _, port = os.environ["GITMEDIC_LISTEN"].rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
begun()
while True:
    time.sleep(1)
