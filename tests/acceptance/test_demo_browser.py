"""The first five minutes, as a person sees them: the real demo, its link, and a browser."""

import pytest
from playwright.async_api import Browser, expect

from tests.browsing import PHONE
from tests.demo_process import break_card, demo

pytestmark = pytest.mark.anyio
_PATIENCE = 60_000


async def test_from_the_link_to_a_verified_fix_and_an_honest_failure(chromium: Browser) -> None:
    async with demo() as link:
        url = link.partition("/setup")[0]
        page = await chromium.new_page(viewport=PHONE)
        await page.goto(link)
        await expect(page.get_by_role("heading", name="Break something")).to_be_visible()
        await break_card(page, url, "cache")
        await page.get_by_role("button", name="Approve and run on demo-cache").click(timeout=_PATIENCE)
        await expect(page.locator("#log")).to_contain_text("changed", timeout=_PATIENCE)
        await expect(page.locator("#part-head .chip")).to_have_text("fixed", timeout=_PATIENCE)
        await expect(page.locator("#part-proof")).to_contain_text("demo_cache_bytes")
        await break_card(page, url, "mystery")
        await expect(page.locator("#part-head")).to_contain_text("No playbook fits", timeout=_PATIENCE)
        await break_card(page, url, "queue")
        await page.get_by_role("button", name="Approve and run on demo-queue").click(timeout=_PATIENCE)
        await expect(page.locator("#part-head")).to_contain_text("the problem is still there", timeout=_PATIENCE)
        await page.goto(f"{url}/start")
        await page.get_by_role("button", name="Test").first.click()
        await expect(page.locator("#result-alertmanager")).to_contain_text("the last alert", timeout=_PATIENCE)
        await page.get_by_role("button", name="Make a token").click()
        await expect(page.get_by_text("It is shown once")).to_be_visible()
        await page.close()
