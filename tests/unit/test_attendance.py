"""The roll call: who is told when a site has no executor, on pages and by a message."""

from __future__ import annotations

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.adapters.telemetry.metrics import Metrics, Snapshot
from receiver.attendance import roll_call
from receiver.testing import World
from receiver.testing.store import FakeSites
from receiver.web.notices import Notices
from tests.unit.test_pipeline import FILES

pytestmark = pytest.mark.anyio


async def test_an_outage_is_told_once_shown_on_every_page_and_taken_back() -> None:
    world = World(FILES, RulesPlanner())
    sites = FakeSites(world.cases)

    async def none() -> int:
        return 0

    for _ in range(2):
        await roll_call(world.repo, sites, world.notifier)
    assert len(world.notifier.told) == 1 and "no executor for site 'home' since" in str(world.notifier.told[0])
    assert "--site home" in str(world.notifier.told[0])
    (notice,) = await Notices(world.repo, none, sites=sites).all()
    assert notice.text.startswith("No executor for site 'home' since") and notice.command.endswith("--site home")
    world.cases.seats["e"] = ((), 1)
    await roll_call(world.repo, sites, world.notifier)
    assert "site home has an executor again" in str(world.notifier.told[1])
    assert await Notices(world.repo, none, sites=sites).all() == ()


async def test_a_pause_stands_on_every_page() -> None:
    world = World(FILES, RulesPlanner())

    async def none() -> int:
        return 0

    assert await Notices(world.repo, none, gate=world.ledger).all() == ()
    world.ledger.why_paused = "paused: we move to Rack B (os:anna)"
    (notice,) = await Notices(world.repo, none, gate=world.ledger).all()
    assert notice.text == "Paused: we move to Rack B (os:anna). No run begins."
    assert notice.command == "gitmedic resume"


async def test_names_in_a_notice_stay_as_they_are_written() -> None:
    world = World(
        {**FILES, "inventory/hosts.yml": FILES["inventory/hosts.yml"].replace(b"home", b"Rack-B")}, RulesPlanner()
    )
    sites = FakeSites(world.cases)

    async def none() -> int:
        return 0

    await roll_call(world.repo, sites, world.notifier)
    (notice,) = await Notices(world.repo, none, sites=sites).all()
    assert "site 'Rack-B' since" in notice.text and notice.text.endswith(" UTC.")


def test_metrics_show_each_worker_by_role_and_site_and_each_site() -> None:
    worker = {"name": "w", "roles": "execute", "sites": ["lab", "attic"], "metrics": {}, "lives": True}
    silent = {"name": "s", "roles": "plan execute", "sites": [], "metrics": {}, "lives": False}
    rows = [worker | {"silent_seconds": 3.0}, silent | {"silent_seconds": 99.0}]
    sites = [
        {"name": "lab", "executors": 1, "unserved_seconds": 0},
        {"name": "home", "executors": 0, "unserved_seconds": 60},
    ]
    page = Metrics().render(Snapshot(cases=(), workers=rows, slots=0, locks=0, sites=sites)).decode()
    for line in (
        'gitmedic_worker_up{role="execute",site="lab",worker="w"} 1.0',
        'gitmedic_worker_up{role="execute",site="attic",worker="w"} 1.0',
        'gitmedic_worker_up{role="plan",site="",worker="s"} 0.0',
        'gitmedic_worker_silent_seconds{role="execute",site="",worker="s"} 99.0',
        'gitmedic_site_executors{site="home"} 0.0',
        'gitmedic_site_unserved_seconds{site="home"} 60.0',
    ):
        assert line in page.splitlines()
