"""What reaches the log: no secret, no local variable, and no end of the work when it cannot be written."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from receiver.adapters.telemetry.log import configure_log
from receiver.adapters.telemetry.settings import LogSettings


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_local_variable(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    configure_log(LogSettings(format=form), process="test")
    hidden = "hunter2"
    try:
        raise ValueError(len(hidden))
    except ValueError:
        structlog.get_logger().exception("broken", api_token=hidden)
    assert "ValueError" in written.getvalue() and "test_log.py" in written.getvalue()
    assert hidden not in written.getvalue() and "[redacted]" in written.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_on_a_full_disk_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w", buffering=1)  # noqa: SIM115 - its end fails as well, below
    monkeypatch.setattr(sys, "stderr", full)
    configure_log(LogSettings(), process="test")
    structlog.get_logger().error("nobody reads this")
    with pytest.raises(OSError, match="No space left"):
        full.close()
