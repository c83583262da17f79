"""What the demo's directory holds: its ops repository, its settings, Prometheus' and Alertmanager's configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from receiver.starter import content

SITE = "demo"
SOURCE = "demo"
#: alert, comparison; all with the label that says which host is meant
RULES = (
    ("DemoCacheFull", "demo_cache_bytes > 20000000"),
    ("DemoWebDown", "demo_web_up == 0"),
    ("DemoMystery", "demo_mystery == 1"),
    ("DemoQueueStuck", "demo_queue_stuck == 1"),
)


def ops_files(place: Path, person: str) -> dict[str, bytes]:
    """The demo's playbooks, three hosts on this machine, and a policy that proposes."""
    files = {name: data for name, data in content().items() if name.startswith("playbooks/demo/")}
    return files | {"inventory/hosts.yml": _yaml(_inventory(place)), "policy.yml": _yaml(_policy(person))}


def _inventory(place: Path) -> dict[str, Any]:
    def host(name: str, facts: dict[str, str], **local: list[str]) -> dict[str, Any]:
        return {
            "ansible_connection": "local",
            "gitmedic_facts": facts,
            "gitmedic": {"site": SITE, "match": [f'host="{name}"'], "local": local},
        }

    cache, queue, control = str(place / "cache"), str(place / "queue"), str(place / "web" / "control.sock")
    hosts = {
        "demo-cache": host("demo-cache", {"cache.path": cache}, writable=[cache]),
        "demo-web": host("demo-web", {"web.control": control}, sockets=[control]),
        "demo-queue": host("demo-queue", {"queue.path": queue}, writable=[queue]),
    }
    return {"all": {"hosts": hosts}}


def _policy(person: str) -> dict[str, Any]:
    return {
        "mode": "propose",
        "sources": {SOURCE: {"mode": "propose"}},
        "people": [{"name": person, "os": [person], "session": [person], "approves": "medium", "dispatches": True}],
        "approvals": {"solo": person},
        "isolation": {"none_allowed": [SITE]},
        # a demo is tried again and again
        "limits": {"open_proposals": 6, "proposals_per_hour": 100, "cooldown": "1s", "flapping_fires": 100},
    }


def settings_toml(*, listen: str, exporter_port: int, prometheus_port: int | None) -> str:
    """`gitmedic.toml`, marked as a demo's; without Prometheus the source is a probe of the metrics page."""
    lines = ["demo = true", "[web]", f'listen = "{listen}"', "[worker]", "poll_seconds = 0.1", "concurrency = 8"]
    lines += ["[[sources]]", f'name = "{SOURCE}"']
    if prometheus_port is not None:
        lines += ['kind = "prometheus"', f'url = "http://127.0.0.1:{prometheus_port}"', 'jobs = { demo = "any" }']
    else:
        lines += ['kind = "probe"', f'url = "http://127.0.0.1:{exporter_port}/metrics"', "interval_seconds = 1"]
        for name, expression in RULES:
            lines += ["[[sources.rules]]", f'alert = "{name}"', f"expr = {json.dumps(expression)}"]
            lines += ["for_seconds = 1", 'labels = { severity = "warning" }']
    return "\n".join(lines) + "\n"


def cards_json(cards: Sequence[Mapping[str, str]], *, exporter_port: int) -> dict[str, Any]:
    """What the demo's page shows: each card with the comparison that judges it."""
    expressions = dict(RULES)
    shown = [
        {**card, "expression": expressions[card["alert"]], "metric": expressions[card["alert"]].split()[0]}
        for card in cards
    ]
    return {"metrics_url": f"http://127.0.0.1:{exporter_port}/metrics", "cards": shown}


def prometheus_config(*, exporter_port: int, alertmanager_port: int, rules: Path) -> dict[str, Any]:
    """JSON is YAML."""
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
    }


def rules_config() -> dict[str, Any]:
    """The four alerts."""
    rules = [
        {"alert": name, "expr": expression, "for": "1s", "labels": {"severity": "warning"},
         "annotations": {"summary": f"the demo's {name}"}}
        for name, expression in RULES
    ]  # fmt: skip
    return {"groups": [{"name": "demo", "rules": rules}]}


def alertmanager_config(*, url: str, token: str) -> dict[str, Any]:
    """One group per alert, posted at once."""
    http = {"follow_redirects": False, "authorization": {"type": "Bearer", "credentials": token}}
    hook = {"url": url, "send_resolved": True, "http_config": http}
    return {
        "route": {"receiver": "gitmedic", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s",
                  "repeat_interval": "1h"},
        "receivers": [{"name": "gitmedic", "webhook_configs": [hook]}],
    }  # fmt: skip


def _yaml(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, indent=2).encode()
