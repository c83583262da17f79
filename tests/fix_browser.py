"""One Chromium for the session, one served front door for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.browsing import Site
from tests.door import Door
from tests.machine import required

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.fixture(scope="session")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    """One browser process for the session."""
    from playwright.async_api import async_playwright  # not for suites without a browser

    program = required("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def site(door: Door, chromium: Browser) -> AsyncIterator[Site]:
    """Served, with sources `prom` and `other`, people `anna` and `guest`."""
    made = Site(door, chromium)
    await made.start()
    yield made
    for context in made.contexts:
        await context.close()
    await made.stop()
    assert made.complaints == []
