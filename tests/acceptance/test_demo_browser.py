"""The first five minutes, as a person sees them: the real demo, its link, and a browser."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browsing import PHONE

pytestmark = pytest.mark.anyio
_PATIENCE = 60_000


@asynccontextmanager
async def demo() -> AsyncIterator[str]:
    """`gitmedic demo` with nobody at a terminal; its link."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "receiver", "demo", "--json", "--simulated",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    told = json.loads(await asyncio.wait_for(process.stdout.readline(), 90))
    try:
        yield told["url"]
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
        place = Path(told["data_dir"]).parent
        assert (place / "demo").is_file()
        await asyncio.to_thread(_remove, place)


def _remove(place: Path) -> None:
    for folder, names, files in os.walk(place, topdown=False):
        for name in (*files, *names):
            path = Path(folder) / name
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


async def break_card(page: Page, url: str, name: str) -> None:
    """One click, and its case appears by itself."""
    await page.goto(f"{url}/demo")
    await page.locator(f"#card-{name}").get_by_role("button", name="Break it").click()
    await page.locator(f"#card-{name} a").click(timeout=_PATIENCE)


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
