"""What happens by itself on a page: lines appear, a cut stream goes on, two people see the same."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from playwright.async_api import Page, expect

from receiver.domain.run import RunEvent
from tests.browsing import Site
from tests.door import proposed

pytestmark = pytest.mark.anyio


async def write(site: Site, attempt: str, first: int, after: int, text: str = "line") -> None:
    """Lines of a run, as the executor records them."""
    now = datetime.now(UTC)
    lines = [RunEvent(seq=n, at=now, kind="ok", host="web1", task=f"{text} {n}") for n in range(first, after)]
    await site.door.office.store.runs.record(attempt, lines)


async def shown(page: Page) -> list[str]:
    """The ids of the log's lines, in their order."""
    found: list[str] = await page.locator("#log p").evaluate_all("all => all.map(one => one.id)")
    return found


async def test_a_cut_stream_goes_on_without_loss_or_doubling(site: Site) -> None:
    site.expected = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_CONNECTION_RESET|ERR_EMPTY|network error|Failed to fetch"
    case = await proposed(site.door)
    attempt = await site.door.office.store.runs.begin(case.runfile.run, case.id, "check", "test")
    await write(site, attempt, 0, 30)
    page = await site.person("anna", f"/cases/{case.id}")
    await write(site, attempt, 30, 60)
    await expect(page.locator("#L59")).to_be_visible()
    await site.stop()
    await write(site, attempt, 60, 90)
    await expect(page.locator("#lost")).to_be_visible(timeout=15_000)
    await site.start()
    await expect(page.locator("#L89")).to_be_visible(timeout=20_000)
    await write(site, attempt, 90, 120)
    await expect(page.locator("#L119")).to_be_visible()
    assert await shown(page) == [f"L{n}" for n in range(120)]
    await expect(page.locator("#lost")).to_be_hidden()


async def test_a_new_attempt_begins_the_log_anew(site: Site) -> None:
    case = await proposed(site.door)
    runs = site.door.office.store.runs
    await write(site, await runs.begin(case.runfile.run, case.id, "check", "test"), 0, 5, "rehearsed")
    page = await site.person("anna", f"/cases/{case.id}")
    await expect(page.locator("#log")).to_contain_text("rehearsed 4")
    await write(site, await runs.begin(case.runfile.run, case.id, "run", "test"), 0, 3, "really")
    await expect(page.locator("#log")).to_contain_text("really 2")
    await expect(page.locator("#log")).not_to_contain_text("rehearsed")
    await expect(page.locator("#part-run")).to_contain_text("running")


async def test_a_browser_that_slept_misses_nothing(site: Site) -> None:
    case = await proposed(site.door)
    attempt = await site.door.office.store.runs.begin(case.runfile.run, case.id, "check", "test")
    await write(site, attempt, 0, 3)
    page = await site.person("anna", f"/cases/{case.id}")
    sleep = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    await write(site, attempt, 3, 6)
    await expect(page.locator("#L5")).to_be_visible()
    await page.evaluate(sleep, True)
    await asyncio.sleep(0.5)
    await write(site, attempt, 6, 9)
    await page.evaluate(sleep, False)
    await expect(page.locator("#L8")).to_be_visible(timeout=15_000)
    assert await shown(page) == [f"L{n}" for n in range(9)]


async def test_two_people_on_one_case(site: Site) -> None:
    case = await proposed(site.door)
    guest = await site.person("guest", f"/cases/{case.id}")
    anna = await site.person("anna", f"/cases/{case.id}")
    await expect(guest.get_by_role("button", name="Approve")).to_have_count(0)
    await expect(guest.get_by_text("You may look, but not approve")).to_be_visible()
    await anna.get_by_role("button", name="Approve and run on web1").click()
    await expect(anna.get_by_text("approved and merged head").first).to_be_visible()
    await expect(guest.get_by_text("approved and merged head").first).to_be_visible()
    await expect(guest.get_by_role("button", name="Reject")).to_have_count(0)


async def test_a_half_written_reason_is_not_swept_away(site: Site) -> None:
    case = await proposed(site.door)
    page = await site.person("anna", f"/cases/{case.id}")
    reason = page.get_by_label("Reason")
    await reason.fill("not during the ba")
    attempt = await site.door.office.store.runs.begin(case.runfile.run, case.id, "check", "test")
    await write(site, attempt, 0, 3)
    await expect(page.locator("#L2")).to_be_visible()
    await page.keyboard.type("ckup")
    await expect(reason).to_have_value("not during the backup")


async def test_the_list_shows_a_new_case_by_itself(site: Site) -> None:
    page = await site.person("anna")
    await expect(page.get_by_text("No case yet.")).to_be_visible()
    await proposed(site.door)
    await expect(page.get_by_role("heading", name="Needs you (1)")).to_be_visible(timeout=15_000)
    await page.get_by_role("link", name="WebDown").first.click()
    await expect(page.get_by_role("heading", name="WebDown")).to_be_visible()


async def test_fifty_streams_starve_nobody(site: Site) -> None:
    case = await proposed(site.door)
    anna = await site.door.session("anna")
    cookies, headers = anna.cookies, await site.door.token("alerts:write")
    async with httpx.AsyncClient(base_url=site.url, cookies=cookies, timeout=20) as http:
        streams = [http.stream("GET", f"/cases/{case.id}/live") for _ in range(50)]
        answers = await asyncio.gather(*[stream.__aenter__() for stream in streams])
        assert {answer.status_code for answer in answers} == {200}
        body = {"alerts": [{"status": "firing", "labels": {"alertname": "X"}, "startsAt": "2026-11-26T00:00:00Z"}]}
        posts = [http.post("/alertmanager/prom", json=body, headers=headers) for _ in range(20)]
        pages = [http.get(f"/cases/{case.id}") for _ in range(20)]
        assert {one.status_code for one in await asyncio.gather(*posts, *pages)} == {200}
        for stream in streams:
            await stream.__aexit__(None, None, None)
    await anna.aclose()
