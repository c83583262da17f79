"""Structured logs on standard error, with the case and the run in each line that has one.

Refuses secrets: values under names that mean one are replaced before anything is written.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from receiver.adapters.telemetry.settings import LogSettings

_SECRET = re.compile(r"token|password|secret|authorization|cookie", re.IGNORECASE)


def configure_log(settings: LogSettings, *, process: str) -> None:
    """Once per process, before anything is logged."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        # the default prints local variables where `rich` is installed, and they hold secrets
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    printer = Printer(sys.stderr)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: printer,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    # lines of several lines, for each try; what matters of them is said by who asked the pool
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class Printer:
    """Writes lines to a stream. When that lies on a full disk, the line is lost and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """One line."""
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)

    debug = info = warning = error = critical = msg


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values under names that mean a secret are not written."""
    for name in event:
        if _SECRET.search(name):
            event[name] = "[redacted]"
    return event
