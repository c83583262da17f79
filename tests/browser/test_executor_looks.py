"""What the executor's features look like: schedules, locks and queue, a site without executor, runs in every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from receiver.domain.case import Proposed
from receiver.domain.outcome import Outcome
from receiver.domain.run import RunEvent, RunResult
from receiver.identity import new_id
from receiver.web.notices import Notices
from tests.browser.test_looks import violations
from tests.browsing import DESK, PHONE, SCREENS, Site
from tests.door import proposed
from tests.integration.web.test_aftermath import ended
from tests.unit.test_agenda import OWN

pytestmark = pytest.mark.anyio
LONG = "a line that is rather long, as those of package managers are, /var/lib/some/where/deep " * 6
WHY = (
    "stopped at web2: nothing answers where web2 should be: is it on, and is ansible_host (and its jump hosts) in "
    "the inventory right? (web2 is unreachable: 192.0.2.12 port 22 does not answer within 10 s); done: web1; "
    "not touched: web3"
)


@pytest.fixture(autouse=True)
def with_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = "playbooks/web/look/catalog.yml"
    own = OWN[catalog].replace(b"handles:\n  - match: 'alertname=\"WebDown\"'\n", b"")
    hosts = "".join(
        f"    web{n}: {{ansible_host: 192.0.2.{n}, gitmedic: {{site: home, match: ['instance=\"web{n}\"']}}}}\n"
        for n in (1, 2, 3, 4)
    )
    policy = (
        OWN["policy.yml"] + b"limits: {cooldown: 1s, open_proposals: 9, proposals_per_hour: 99, storm_alerts: 99}\n"
    )
    inventory = f"all:\n  hosts:\n{hosts}".encode()
    monkeypatch.setattr(
        "tests.door.FILES", OWN | {catalog: own, "inventory/hosts.yml": inventory, "policy.yml": policy}
    )


def lines(first: int, after: int, host: str = "web1", kind: str = "ok", text: str = "") -> list[RunEvent]:
    now = datetime.now(UTC)
    return [RunEvent(seq=n, at=now, kind=kind, host=host, task=f"Task {n}", text=text) for n in range(first, after)]


async def runs(site: Site) -> tuple[dict[str, str], Proposed]:
    """Runs in every state: name and path of their pages, and the one that is under way."""
    door, store, now = site.door, site.door.office.store, datetime.now(UTC)
    ends = [
        await ended(door, outcome, instance=host)
        for outcome, host in ((Outcome.FAILED, "web1"), (Outcome.CANCELLED, "web2"), (Outcome.INTERRUPTED, "web3"))
    ]
    failed, called_off, cut = [(end.id, end.runfile.run) for end in ends if end.runfile is not None]
    log = [*lines(0, 50), *lines(50, 54, "web2", "changed", LONG), *lines(54, 56, "web2", "failed", LONG)]
    for (_, run), status, why in ((failed, "failed", WHY), (called_off, "cancelled", "a person stopped it")):
        found = await store.runs.attempt_of(run, "run")
        assert found is not None
        await store.runs.record(found[0], log)
        result = RunResult.model_validate({"status": status, "why": why, "started_at": now, "ended_at": now})
        await store.runs.finish(found[0], result)
    under_way = await proposed(door, instance="web4")
    run = under_way.runfile.run
    await store.runs.record(await store.runs.begin(run, under_way.id, "run", "test"), lines(0, 12))
    return {
        "failed": f"/cases/{failed[0]}", "log-failure": f"/runs/{failed[1]}?after=40#L54",
        "called-off": f"/cases/{called_off[0]}", "interrupted": f"/cases/{cut[0]}",
        "under-way": f"/cases/{under_way.id}", "log-live": f"/runs/{run}",
    }, under_way  # fmt: skip


async def furnished(site: Site) -> dict[str, str]:
    """Name and path of the pages: runs, locks with somebody who waits, moments, a pause, a site without executor."""
    pages, under_way = await runs(site)
    door, store = site.door, site.door.office.store
    await store.locks.hold("host:web1", "by hand: a disk is being changed", seconds=7200)
    names, run = ["host:web4", "group:front"], under_way.runfile.run
    await store.locks.take(run, under_way.id, names, f"web_restart in run {run}")
    await door.office.agenda.tick()
    async with store.pool.connection() as connection:
        await connection.execute("UPDATE schedules SET since = now() - %s", (timedelta(hours=5),))
        told = "INSERT INTO sites (name, unserved_since, told_at) VALUES ('home', now() - interval '2 hours', now())"
        await connection.execute(told)
    await door.office.agenda.tick()
    waiting = (await door.rows("SELECT id::text FROM cases WHERE kind = 'planned' LIMIT 1"))[0]["id"]
    await store.locks.take(new_id(), waiting, ["host:web4"], f"web_look in run {new_id()}")
    async with store.pool.connection() as connection:
        await connection.execute("UPDATE attempts SET alive_at = now() + interval '1 hour' WHERE ended_at IS NULL")
        await connection.execute("UPDATE cases SET kind = 'approved', role = 'execute' WHERE id = %s", (waiting,))
    await store.ledger.pause("we are moving to another rack")
    return pages | {"hosts": "/hosts", "schedules": "/schedules"}


async def none() -> int:
    return 0


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
async def test_every_page_can_be_read_by_everybody(site: Site, scheme: str, size: dict[str, int]) -> None:
    paths, store = await furnished(site), site.door.office.store
    await site.stop()
    repo, unsettled = site.door.office.repo, store.resolutions.waiting
    await site.start(notices=Notices(repo, none, sites=store.sites, unsettled=unsettled, gate=store.ledger))
    page = await site.person("anna", color_scheme=scheme, viewport=size)
    wrong: list[str] = []
    for name, path in paths.items():
        await page.goto(f"{site.url}{path}")
        await page.screenshot(path=SCREENS / f"executor-{name}-{scheme}-{size['width']}.png")
        await expect(page.get_by_text("Paused: we are moving to another rack. No run begins.")).to_be_visible()
        wrong += [f"{name}: {one}" for one in await violations(page)]
        width = await page.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            wrong.append(f"{name}: {width} px wide")
    assert wrong == []
    await page.goto(f"{site.url}/hosts")
    await expect(page.get_by_role("heading", name="Who waits")).to_be_visible()
