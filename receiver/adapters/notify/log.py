"""Tells a person through the log: the notifier that is always there.

Never raises and refuses nothing; the lines carry `event="notify"`, so that a log pipeline can send them on.
"""

from __future__ import annotations

from contextlib import suppress

import structlog

log = structlog.get_logger()


class LogNotifier:
    """The Notifier port, as log lines."""

    async def tell(self, subject: str, text: str, case: str | None = None) -> None:
        """One warning line; a log that cannot be written has nowhere else to say so."""
        # a lone surrogate is text that no stream can encode
        subject, text = (one.encode("utf-8", "replace").decode() for one in (subject, text))
        with suppress(OSError, ValueError):
            log.warning("notify", subject=subject, text=text, case=case)
