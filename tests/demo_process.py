"""`gitmedic demo` as a process, and a browser's way to a case of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page

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
