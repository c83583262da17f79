"""A log as it grows: new lines of a run, until it has ended or its case is closed.

Decides when a log is over and what a new attempt means: the dry run's log ends where the run's begins. Reads page by
page, so that a log of any length fits.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from receiver.errors import Retry
from receiver.ports import Lines
from receiver.web.changes import Welcome, changes
from receiver.web.parts import Parts
from receiver.web.since import Since

PAGE = 1000


@dataclass(frozen=True)
class News:
    """What one look found."""

    lines: list[dict[str, Any]]
    since: Since
    is_new_attempt: bool = False  #: what was shown before is of an earlier attempt
    is_over: bool = False


async def tail(parts: Parts, run: str, case: str, since: Since, of: Lines, welcome: Welcome) -> AsyncIterator[News]:
    """Looks at each change, each with at most a page of lines; one without lines is a sign of life."""
    async with contextlib.aclosing(changes(parts, case, welcome)) as looks:
        async for is_change in looks:
            news = News([], since)
            # while the database is away the stream waits; the number says where to go on
            with contextlib.suppress(Retry):
                while is_change:
                    news = await _look(parts, run, since, of)
                    since = news.since
                    if not news.lines:
                        break
                    yield news
                    if news.is_over:
                        return
            if not news.lines:
                yield news
            if news.is_over:
                return


async def _look(parts: Parts, run: str, since: Since, of: Lines) -> News:
    # in this order: what ended has written all of its lines before
    is_over = await _is_over(parts, run)
    newest = await parts.logs.run_log(run, limit=1)
    attempt = newest[0]["attempt"] if newest else since.attempt
    is_new = attempt != since.attempt
    after = -1 if is_new else since.seq
    lines = await parts.logs.run_log(run, after=after, limit=PAGE, of=of.model_copy(update={"attempt": attempt}))
    seq = lines[-1]["seq"] if lines else after
    is_new_attempt = is_new and bool(since.attempt)
    return News(lines, Since(attempt, seq), is_new_attempt, is_over=is_over and len(lines) < PAGE)


async def _is_over(parts: Parts, run: str) -> bool:
    case = await parts.logs.run_case(run)
    if case is None or not case["is_open"]:
        return True
    found = await parts.logs.run(run)
    return found is not None and found["mode"] == "run" and found["ended_at"] is not None
