"""A storm from a real Alertmanager: every alert is a row with its why, and hosts are hardly touched.

GITMEDIC_STORM=10000 plays it at full size: 10,000 alerts in 1,000 groups.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.demo import cards, rig
from tests.machine import free_port, required

ALERTS = int(os.environ.get("GITMEDIC_STORM", "1000"))
GROUPS = ALERTS // 10
#: alerts of which nothing was said yet, and cases that nothing was decided about
OPEN = """SELECT (SELECT count(*) FROM alerts WHERE case_id IS NULL AND why IS NULL)
             + (SELECT count(*) FROM cases WHERE kind IN ('received', 'triaged', 'planned'))"""


@pytest.fixture
async def running() -> AsyncIterator[rig.Rig]:
    async with rig.running(simulated=True, say=lambda text: None) as found:
        yield found
    shutil.rmtree(found.place, ignore_errors=True)


async def start_alertmanager(place: Path, url: str, token: str) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    http = {"follow_redirects": False, "authorization": {"credentials": token}}
    config = {
        "route": {"receiver": "gitmedic", "group_by": ["group"], "group_wait": "1s", "group_interval": "5s",
                  "repeat_interval": "1h"},
        "receivers": [{"name": "gitmedic", "webhook_configs": [{"url": url, "http_config": http}]}],
    }  # fmt: skip
    (place / "storm.json").write_text(json.dumps(config))
    with (place / "storm.log").open("ab") as log:
        process = subprocess.Popen(
            [required("alertmanager"), f"--config.file={place / 'storm.json'}", f"--storage.path={place / 'storm'}",
             f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                if (await client.get(f"{base}/-/ready")).status_code == 200:
                    return process, base
            except httpx.HTTPError:
                await asyncio.sleep(0.1)


async def one(running: rig.Rig, query: str) -> Any:
    async with running.office.store.pool.connection() as connection:
        row = await (await connection.execute(query)).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None


@pytest.mark.anyio
async def test_a_storm(running: rig.Rig) -> None:
    token = await running.office.store.access.create_token("storm", "alerts:write", created_by="os:test")
    hook = f"{running.settings.web.local_url}/alertmanager/demo"
    cards.fill_cache(running.place)
    alertmanager, base = await start_alertmanager(running.place, hook, token)
    try:
        now = datetime.now(UTC)
        alerts = [
            {
                "labels": {"alertname": "DemoCacheFull" if n % 2 else f"Other{n % 50}", "host": "demo-cache",
                           "path": str(running.place / "cache"), "n": str(n), "group": str(n % GROUPS)},
                "startsAt": now.isoformat(), "endsAt": (now + timedelta(minutes=10)).isoformat(),
            }
            for n in range(ALERTS)
        ]  # fmt: skip
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            for start in range(0, ALERTS, 500):
                answer = await client.post(f"{base}/api/v2/alerts", json=alerts[start : start + 500])
                assert answer.status_code == 200
        async with asyncio.timeout(120):
            while await one(running, "SELECT count(*) FROM alerts WHERE labels ? 'n'") < ALERTS:
                await asyncio.sleep(0.2)
        async with asyncio.timeout(60 + ALERTS / 10):
            while await one(running, OPEN):
                await asyncio.sleep(0.5)
    finally:
        alertmanager.terminate()
        alertmanager.wait()
    limit = 6  # of the demo's policy
    assert await one(running, "SELECT count(DISTINCT run) FROM attempts") <= limit
    assert await one(running, "SELECT count(*) FROM proposal_slots WHERE freed_at IS NULL") <= limit
    nothing = await one(running, "SELECT count(*) FROM alerts WHERE case_id IS NULL AND why IS NULL")
    assert nothing == 0
    storm = await one(running, "SELECT count(*) FROM cases WHERE outcome = 'storm'")
    assert storm >= ALERTS * 0.9
