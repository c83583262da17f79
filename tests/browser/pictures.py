"""Makes the pictures of the docs anew, from a real demo: `make pictures`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect

from tests.browsing import PHONE
from tests.demo_process import break_card, demo
from tests.machine import required

DOCS = Path(__file__).parents[2] / "docs"
_WIDE = {"width": 1100, "height": 760}
_PATIENCE = 60_000


async def take(page: Page, name: str) -> None:
    """What fits the window."""
    await page.screenshot(path=DOCS / name)
    sys.stderr.write(f"wrote docs/{name}\n")


async def main() -> None:
    """The demo's page, a proposal on a phone, a case that was fixed."""
    async with demo() as link, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=required("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(viewport=_WIDE)
        url = link.partition("/setup")[0]
        await page.goto(link)
        await take(page, "demo.png")
        await break_card(page, url, "web")
        approve = page.get_by_role("button", name="Approve and run")
        await expect(approve).to_be_visible(timeout=_PATIENCE)
        await take(page, "case.png")
        await page.set_viewport_size(PHONE)
        await take(page, "phone.png")
        await page.set_viewport_size(_WIDE)
        await approve.click()
        await expect(page.locator("#part-head .chip")).to_have_text("fixed", timeout=_PATIENCE)
        await take(page, "proof.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
