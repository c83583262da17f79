"""An exporter whose page is measured all the time by a function of the test's."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def exporter(measure: Callable[[], str]) -> Iterator[int]:
    """Measures all the time, for asking every target takes longer than a scrape may; gives its port."""
    pages, over = [measure()], threading.Event()

    def look() -> None:
        while not over.wait(1):
            pages[0] = measure()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[0].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    threads = [threading.Thread(target=look), serving]
    for thread in threads:
        thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()
