"""The demo's cards as files: what they are is read, that one is to be broken is asked; the demo itself does it.

The server can break nothing by itself: it leaves a file in `asks/`, and only the demo's own process looks there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

FILE = "demo.json"
ASKS = "asks"
_MEGABYTE = 1_000_000


class FileCards:
    """The cards of a demo's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def cards(self) -> list[dict[str, Any]]:
        """Each card with the value of its metric now."""
        told = json.loads((self._folder / FILE).read_text())
        values = await _values(told["metrics_url"])
        return [self._card(card, values.get(card["metric"])) for card in told["cards"]]

    async def break_it(self, name: str) -> bool:
        """Leave the ask; False when there is no such card."""
        return self._ask(name, name)

    async def mend(self, name: str) -> bool:
        """The same for mending it by hand."""
        return self._ask(name, f"{name}.mend")

    def _ask(self, name: str, ask: str) -> bool:
        told = json.loads((self._folder / FILE).read_text())
        if name not in [card["name"] for card in told["cards"]]:
            return False
        (self._folder / ASKS / ask).touch()
        return True

    def _card(self, card: dict[str, Any], value: float | None) -> dict[str, Any]:
        is_asked = (self._folder / ASKS / str(card["name"])).exists()
        is_bad = value is not None and _is_bad(value, card["expression"])
        text = "" if value is None else f"{value / _MEGABYTE:.1f} MB" if "bytes" in card["metric"] else f"{value:g}"
        return {**card, "value": value, "value_text": text, "is_broken": is_asked or is_bad}


def _is_bad(value: float, expression: str) -> bool:
    """The demo's own comparisons: a metric, == or >, a number."""
    _, operator, number = expression.split()
    return value > float(number) if operator == ">" else value == float(number)


async def _values(url: str) -> dict[str, float]:
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            text = (await http.get(url)).text
        return {
            sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
        }
    except (httpx.HTTPError, ValueError):
        return {}
