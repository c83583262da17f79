"""The reference pages of what a running server shows: its API and its metrics, made from the application itself."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

_API_HEAD = """# API

Made by `gitmedic config schema --docs`. A running server shows it at `/docs`, with parameters, bodies
and a `curl` line for each call, and to machines at `/openapi.json`.

`Authorization: Bearer <token>` (`gitmedic token create`), or the session of a browser. Reading needs scope `read`,
`dispatch` or `admin`; approving and rejecting need a person's session and take no token. Lists answer
`{"items": [...], "next": cursor or null}` and take `limit`, `cursor` and filters by field. An error is
`{"error", "next_step", "reason"}`: 503 try again later, 4xx somebody must act, 500 a bug.
"""
_METRICS_HEAD = """# Metrics

Made by `gitmedic config schema --docs`. `GET /metrics`, without a token. Workers listen on no port: the server shows
their counts from their heartbeats. While the database is away, only `gitmedic_webhook_*` and `gitmedic_store_up` are
there.
"""


def api_page() -> str:
    """Every call of the API and every hook, with what it says of itself."""
    from receiver.web.app import create_app

    # routes are made without asking anything of the parts
    app = create_app(cast(Any, SimpleNamespace(version="0", hosts=())))
    rows = []
    for path, calls in sorted(app.openapi()["paths"].items()):
        rows += [
            f"| `{method.upper()}` | `{path}` | {' '.join(inspect.cleandoc(one.get('description', '')).split())} |"
            for method, one in calls.items()
        ]
    return f"{_API_HEAD}\n| method | path | what it does |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def metrics_page() -> str:
    """Every metric with its labels, read from a page that has all of them."""
    from receiver.adapters.telemetry.metrics import Metrics, Snapshot

    metrics = Metrics()
    metrics.posts.labels("200").inc()
    planner = {
        "attempts": {"m": {"success": 1}}, "sums": {"m": {}}, "plans": {"fast": 1}, "cost_usd": 1, "baseline_usd": 1,
    }  # fmt: skip
    counts = {"steps": {"triaged": 1}, "planner": planner, "embedder_up": 1}
    worker = {
        "name": "w",
        "roles": "plan",
        "sites": [],
        "lives": True,
        "silent_seconds": 1,
        "metrics": counts,
    }
    case = {"kind": "closed", "outcome": "fixed", "count": 1}
    schedule = {"name": "s", "ran": 1, "next": 1, "fates": {"ran": 1}}
    page = metrics.render(Snapshot(cases=[case], workers=[worker], slots=0, locks=0, schedules=[schedule])).decode()
    rows = []
    for family in text_string_to_metric_families(page):
        if family.name.endswith("_created"):
            continue
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return f"{_METRICS_HEAD}\n| metric | type | labels | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
