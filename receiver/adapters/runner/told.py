"""What a run says while it lives: events and a result line by line, without secrets, handed on in order.

Decides that a line which is none of ours is passed over, that too much output ends a run, and how a run that said
nothing at its end has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from receiver.adapters.runner.clean import clean
from receiver.adapters.runner.limits import words
from receiver.adapters.runner.redaction import Redactor
from receiver.domain.run import Job, RunEvent, RunResult
from receiver.errors import GitmedicError

log = structlog.get_logger()

RecordEvents = Callable[[Sequence[RunEvent]], Awaitable[None]]
#: events are handed on at least this often, or when there are this many
_BATCH_SECONDS, _BATCH_COUNT = 0.1, 100
LINE_BYTES = 4 << 20
_MAX_DIFF = 200_000
#: kept of what it says on standard error
_ERROR_BYTES = 8192
#: of the one sentence that says why a run was no success
_WHY = 400


@dataclass
class Seen:
    """What a run has said so far."""

    redactor: Redactor = field(default_factory=Redactor)
    size: int = 0
    waiting: list[RunEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    result: RunResult | None = None
    stderr: bytes = b""
    stopped: tuple[str, str] | None = None  #: status and reason
    limit: str = ""  #: the key of the limit that it was over

    def is_over(self, job: Job, key: str) -> None:
        """It is to be ended for this limit."""
        self.limit = key
        self.stopped = ("timeout" if key == "timeout_seconds" else "failed", words(job, key))


async def read_events(process: asyncio.subprocess.Process, seen: Seen, job: Job) -> None:
    """Until the end of the stream; a line that is none of ours is passed over."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            seen.stopped = ("failed", f"one line of its output was longer than {LINE_BYTES >> 20} MB")
            return
        if not line:
            return
        seen.size += len(line)
        if seen.size > job.output_mb << 20:
            seen.is_over(job, "output_mb")
            return
        try:
            said = json.loads(line)
            if said.get("limit"):
                seen.is_over(job, said["limit"])
                return
            _take(said, seen)
        except (ValueError, AttributeError, KeyError):
            log.warning("run.line_not_understood", size=len(line))


def _take(line: dict[str, Any], seen: Seen) -> None:
    if "result" in line:
        seen.result = seen.redactor.result(RunResult.model_validate(line["result"]))
    else:
        event = seen.redactor.event(RunEvent.model_validate(line["event"]))
        seen.waiting.append(event)
        seen.texts.append(" ".join(filter(None, (event.kind, event.host, event.task, event.text))))
        if event.diff:
            seen.diffs.append(event.diff)


async def read_errors(process: asyncio.subprocess.Process, seen: Seen) -> None:
    """The end of it, for a run that gives no result."""
    assert process.stderr is not None  # noqa: S101 - it was asked for
    while chunk := await process.stderr.read(65536):
        seen.stderr = (seen.stderr + chunk)[-_ERROR_BYTES:]


async def flush(seen: Seen, record: RecordEvents, over: asyncio.Event) -> None:
    """Hand on what was said, often, until the run is over."""
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _BATCH_SECONDS)
        await hand_on(seen, record)


async def hand_on(seen: Seen, record: RecordEvents) -> None:
    """In order; a store that does not answer keeps nobody from knowing how the run ended."""
    while seen.waiting:
        batch = seen.waiting[:_BATCH_COUNT]
        try:
            await record(batch)
        except GitmedicError as error:
            log.warning("run.events_wait", error=error.message, count=len(seen.waiting))
            return
        seen.waiting = seen.waiting[len(batch) :]


def result_of(job: Job, seen: Seen, began: datetime, rc: int | None) -> RunResult:
    """How it ended, by its own word where it has one."""
    output, diff = "\n".join(seen.texts)[:_MAX_DIFF], "\n".join(seen.diffs)[:_MAX_DIFF]
    if seen.stopped is not None or seen.result is None:
        said = seen.redactor.text(seen.stderr.decode(errors="replace")).strip().splitlines()
        # the rest of a line whose beginning is gone may be the rest of a secret
        told = said if len(seen.stderr) < _ERROR_BYTES else said[1:]
        why = f"its process ended ({rc})" + (f": {clean(told[-1], 300)}" if told else "")
        status, why = seen.stopped or ("failed", why)
        ended = datetime.now(UTC)
        if seen.stopped:
            rc = None  # a child that was told to end may end with 0, which is not the run's own word
        return RunResult.model_validate(
            {"status": status, "rc": rc, "why": why, "output": output, "diff": diff, "started_at": began,
             "ended_at": ended, "isolation": job.isolation, "limit": seen.limit}
        )  # fmt: skip
    # this machine's clock, not the child's word, says when it was over; and a reason is only cut without its secrets
    why, ended = clean(seen.result.why, _WHY), datetime.now(UTC)
    return seen.result.model_copy(update={"why": why, "output": output, "diff": diff, "ended_at": ended})
