"""Tells a person through the log: the notifier that is always there.

Never raises and refuses nothing; the lines carry `event="notify"`, so that a log pipeline can send them on.
"""

from __future__ import annotations

import structlog

log = structlog.get_logger()


class LogNotifier:
    """The Notifier port, as log lines."""

    async def tell(self, subject: str, text: str, case: str | None = None) -> None:
        """One warning line."""
        log.warning("notify", subject=subject, text=text, case=case)
