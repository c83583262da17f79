"""Debian's Chromium by Playwright, over the real front door on a real port.

Every page's console is watched: an error there (a blocked script, a broken one) fails the test that saw it.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.door import Door, serving

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

SCREENS = Path(__file__).parent.parent / "build" / "screens"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@dataclass
class Site:
    """The front door at `url`, and browsers of people."""

    door: Door
    browser: Browser
    url: str = ""
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    #: what a test provokes on purpose
    expected: str = r"^$"
    _serving: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **given: Any) -> None:
        """Serve; again on the same port after a stop."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self.url, _, _ = await self._serving.enter_async_context(serving(self.door, port, **given))

    async def stop(self) -> None:
        """End the server; streams end with it."""
        await self._serving.aclose()

    async def person(self, name: str, path: str = "/", **options: Any) -> Page:
        """A browser of its own for somebody, on a page."""
        context = await self.browser.new_context(**{"viewport": DESK, **options})
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda told: self._told(told.type, told.text))
        page.on("pageerror", lambda error: self._told("error", str(error)))
        link = await self.door.office.store.access.create_setup_link(name)
        await page.goto(f"{self.url}/setup?t={link}")
        await page.goto(f"{self.url}{path}")
        return page

    def _told(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not re.search(self.expected, text):
            self.complaints.append(text)
