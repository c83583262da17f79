"""Real Prometheus, Alertmanager and an exporter process whose values a test sets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.machine import free_port, required

EXPORTER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(sys.argv[2], "rb").read()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


class Exporter:
    """A process that serves a page; killed for real."""

    def __init__(self, base: Path, name: str) -> None:
        self.port = free_port()
        self._page = base / f"{name}.prom"
        self._page.write_text("")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", EXPORTER, str(self.port), str(self._page)])
        wait_for(lambda: httpx.get(f"http://{self.target}/").status_code == 200)

    def say(self, page: str) -> None:
        self._page.write_text(page + "\n")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Prometheus:
    """One server with rules and targets of the test's own; evaluates and scrapes each second."""

    def __init__(self, base: Path, *, alertmanager: str = "") -> None:
        self.base = base
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.alertmanager = alertmanager
        self._process: subprocess.Popen[bytes] | None = None
        self.rules: list[dict[str, Any]] = []
        self.targets: list[dict[str, Any]] = []

    def write(self) -> None:
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": {"monitor": "test"}},
            "rule_files": [str(self.base / "rules.json")],
            "scrape_configs": self.targets,
        }
        if self.alertmanager:
            host = self.alertmanager.removeprefix("http://")
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [host]}]}]}
        (self.base / "prometheus.json").write_text(json.dumps(config))
        groups = {"groups": [{"name": "test", "rules": self.rules}]}
        (self.base / "rules.json").write_text(json.dumps(groups))

    def start(self) -> None:
        self.write()
        with (self.base / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [required("prometheus"), f"--config.file={self.base / 'prometheus.json'}",
                 f"--storage.tsdb.path={self.base / 'tsdb'}", f"--web.listen-address=127.0.0.1:{self.port}",
                 "--web.enable-lifecycle", "--rules.alert.resend-delay=1s"],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: httpx.get(f"{self.url}/-/ready").status_code == 200)

    def reload(self) -> None:
        self.write()
        httpx.post(f"{self.url}/-/reload").raise_for_status()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def query(self, promql: str) -> list[Any]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": promql}).json()
        return list(answer["data"]["result"])

    def firing(self, name: str) -> bool:
        return bool(self.query(f'ALERTS{{alertname="{name}",alertstate="firing"}}'))


class Alertmanager:
    """One server that posts to a webhook."""

    def __init__(self, base: Path, webhook: str, token: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = {
            "route": {
                "receiver": "gitmedic", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [
                {"name": "gitmedic", "webhook_configs": [
                    {"url": webhook, "send_resolved": True, "http_config": {
                        "follow_redirects": False, "authorization": {"credentials": token}}}]}
            ],
        }  # fmt: skip
        (base / "alertmanager.json").write_text(json.dumps(config))
        with (base / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen(
                [required("alertmanager"), f"--config.file={base / 'alertmanager.json'}",
                 f"--storage.path={base / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{self.port}",
                 "--cluster.listen-address="],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(lambda: httpx.get(f"{self.url}/-/ready").status_code == 200)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def wait_for(ready: Callable[[], Any], seconds: float = 30) -> Any:
    """Until it is truthy; connection errors count as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = ready()
        except httpx.HTTPError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Not started: a module says its rules and targets first."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def exporters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Exporter]]:
    """Exporters by name; all end with the module."""
    base = tmp_path_factory.mktemp("exporters")
    made: dict[str, Exporter] = {}

    def exporter(name: str) -> Exporter:
        if name not in made:
            made[name] = Exporter(base, name)
        return made[name]

    yield exporter
    for one in made.values():
        one.kill()
