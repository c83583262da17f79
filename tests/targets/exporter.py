"""Pages of metrics of a test's own: measured when it is asked for, or all the time."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def page(measure: Callable[[], str]) -> Iterator[int]:
    """Measured when it is asked for; gives its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = measure().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            serving.join()


@contextlib.contextmanager
def exporter(measure: Callable[[], str]) -> Iterator[int]:
    """Measured all the time, for asking every target takes longer than a scrape may; gives its port."""
    last, over = [measure()], threading.Event()

    def look() -> None:
        while not over.wait(1):
            last[0] = measure()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with page(lambda: last[0]) as port:
            yield port
    finally:
        over.set()
        looking.join()
