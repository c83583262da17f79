"""What every notifier promises: it never raises, whatever is told and wherever it cannot be told."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
import structlog

from receiver.adapters.notify.log import LogNotifier
from receiver.adapters.telemetry.log import configure_log
from receiver.adapters.telemetry.settings import LogSettings
from receiver.ports import Notifier
from receiver.testing.outside import FakeNotifier

pytestmark = pytest.mark.anyio
TEXTS = ["needs you", "", "two\nlines", "a\x00b\x1b[31m", "half a pair \ud800", "ö" * 100_000, "{curly} %s"]


class Place:
    """A notifier, and where its words arrive."""

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self.stream = io.TextIOWrapper(io.BytesIO(), "utf-8")

    def said(self) -> str:
        if isinstance(self.notifier, FakeNotifier):
            return str(self.notifier.told)
        self.stream.flush()
        return bytes(self.stream.buffer.getvalue()).decode()  # type: ignore[attr-defined]


@pytest.fixture(params=["console", "json", "fake"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        yield Place(FakeNotifier())
        return
    found = Place(LogNotifier())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", found.stream)
        configure_log(LogSettings(format=request.param), process="test")
        yield found
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_no_text_makes_it_raise(place: Place, text: str) -> None:
    await place.notifier.tell(text, text, None)
    await place.notifier.tell("a case needs you", "the second is told as well", "case-1")
    assert "the second is told as well" in place.said()
    assert "case-1" in place.said()


async def test_a_log_that_is_gone_makes_it_raise_nothing(place: Place) -> None:
    place.stream.close()
    await place.notifier.tell("a case needs you", "nobody hears it", "case-1")
