"""Every page in light and dark, at a desk and on a phone: axe finds nothing, nothing hangs over the edge.

Screenshots stay in `build/screens` for eyes, which see what axe does not.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from receiver.domain.outcome import Outcome
from receiver.domain.run import RunEvent
from tests.browsing import DESK, PHONE, SCREENS, Site
from tests.contract.test_memory import closed
from tests.door import HOSTILE, proposed

pytestmark = pytest.mark.anyio
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


class Cards:
    """A playground with one card in each look."""

    async def cards(self) -> list[dict[str, Any]]:
        """Whole, broken, and with a case."""
        card = {"story": "A story.", "expression": "up == 0", "metric": "up", "value": 1.0, "value_text": "1"}
        return [
            {**card, "name": "fine", "title": "Fine", "alert": "Nothing", "is_broken": False},
            {**card, "name": "broken", "title": "Broken", "alert": "Nothing", "is_broken": True},
            {**card, "name": "case", "title": "With a case", "alert": "WebDown", "is_broken": True},
        ]

    async def break_it(self, name: str) -> bool:
        """Known or not."""
        return name == "fine"

    async def mend(self, name: str) -> bool:
        """Known or not."""
        return name == "case"


async def furnished(site: Site) -> dict[str, str]:
    """One of everything that can be shown; gives name and path of all pages."""
    store = site.door.office.store
    await store.memory.remember(closed("WebDown", playbook="web_restart"))
    await store.memory.remember(closed("WebDown", Outcome.NOT_FIXED, playbook="web_restart"))
    await store.notebook.add(f"look at the proxy first {HOSTILE}", author="os:eve", alertname="WebDown", tags=["web"])
    open_case = await proposed(site.door)
    attempt = await store.runs.begin(open_case.runfile.run, open_case.id, "check", "test")
    kinds = ("play", "task", "ok", "changed", "failed", "skipped", "unreachable", "warning", "error", "stats")
    lines = [
        RunEvent(seq=n, at=datetime.now(UTC), kind=kind, host="web1", task="Restart", text=f"line {n} {HOSTILE}")
        for n, kind in enumerate(kinds)
    ]
    await store.runs.record(attempt, lines)
    rejected = await proposed(site.door, instance="web2")
    anna = await site.door.session("anna")
    await anna.post(f"/cases/{rejected.id}/reject", data={"why": "not now"})
    await anna.aclose()
    await store.locks.hold("host:web1", "by hand: a disk is being changed")
    return {
        "cases": "/", "cases-none": "/?outcome=fixed", "alerts": "/alerts", "alerts-none": "/alerts?alertname=None",
        "case-open": f"/cases/{open_case.id}", "case-rejected": f"/cases/{rejected.id}",
        "run": f"/runs/{open_case.runfile.run}", "catalog": "/catalog", "catalog-none": "/catalog?q=nothing",
        "playbook": "/catalog/web_restart", "hosts": "/hosts", "settings": "/settings?checks=1", "start": "/start",
        "docs": "/docs",
        "demo": "/demo", "login": "/login", "error": "/cases/nowhere",
    }  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_every_page_can_be_read_by_everybody(site: Site, scheme: str, size: dict[str, int]) -> None:
    site.expected = "404"  # the error page is looked at on purpose
    paths = await furnished(site)
    await site.stop()
    await site.start(playground=Cards())
    page = await site.person("anna", color_scheme=scheme, viewport=size)
    wrong: list[str] = []
    for name, path in paths.items():
        await page.goto(f"{site.url}{path}")
        await page.screenshot(path=SCREENS / f"{name}-{scheme}-{size['width']}.png", full_page=True)
        wrong += [f"{name}: {one}" for one in await violations(page)]
        width = await page.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            wrong.append(f"{name}: {width} px wide")
    assert wrong == []


async def test_the_looking_bites(site: Site) -> None:
    page = await site.person("anna")
    await page.evaluate(
        "document.body.innerHTML = '<img src=/static/mark.svg><input><button></button>"
        "<p class=faint>faint</p>'; document.documentElement.removeAttribute('lang')"
    )
    found = await violations(page)
    assert {one.split(" ")[0] for one in found} >= {"image-alt", "label", "button-name", "html-has-lang"}


async def test_a_proposal_fits_a_phone(site: Site) -> None:
    case = await proposed(site.door)
    page = await site.person("anna", f"/cases/{case.id}", viewport=PHONE)
    for words in ("Approve and run on web1", "Reject"):
        box = await page.get_by_role("button", name=words).bounding_box()
        assert box is not None and box["y"] + box["height"] <= PHONE["height"], words
        assert box["height"] >= 44


async def violations(page: Page) -> list[str]:
    """What axe has against a page."""
    results = await Axe().run(page, options=WCAG)
    return [
        f"{one['id']} {node['target']}: {one['help']}"
        for one in results.response["violations"]
        for node in one["nodes"]
    ]
