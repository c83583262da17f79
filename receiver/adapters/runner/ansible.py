"""The Runner port: one child process per run, its events as they come, and nothing left when it ends.

Decides when a run has had its time, its memory or its output, and ends all of it then. Credentials are looked
up here, by name, for the approved hosts only; a run that asks for one that is not configured is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import structlog

import receiver
from receiver.adapters.runner.agent import ssh_agent
from receiver.adapters.runner.child import MARK, marked, sweep
from receiver.adapters.runner.sandbox import JOB, bwrap_argv, probe, write_passwd
from receiver.adapters.runner.settings import RunnerSettings
from receiver.domain.run import Job, RunEvent, RunResult
from receiver.errors import GitmedicError, Refused

log = structlog.get_logger()

RecordEvents = Callable[[Sequence[RunEvent]], Awaitable[None]]
Asked = Callable[[], Awaitable[bool]]
#: events are handed on at least this often, or when there are this many
_BATCH_SECONDS, _BATCH_COUNT = 0.1, 100
#: how often to look for a cancel, and at the memory
_LOOK_SECONDS = 0.5
_LINE_BYTES = 4 << 20
_MAX_DIFF = 200_000


@dataclass
class _Seen:
    """What a run has said so far."""

    size: int = 0
    waiting: list[RunEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    result: RunResult | None = None
    stderr: bytes = b""
    stopped: tuple[str, str] | None = None  #: status and reason


class AnsibleRunner:
    """Runs jobs on this machine. `keys` are private key files by credential name."""

    def __init__(self, settings: RunnerSettings, *, data_dir: Path, keys: Mapping[str, Path] | None = None) -> None:
        self._scratch = settings.scratch or data_dir / "scratch"
        self._known_hosts = settings.known_hosts or data_dir / "known_hosts"
        self._bwrap = settings.bwrap
        self._keys = dict(keys or {})
        self._probed: tuple[bool, str] | None = None

    async def isolation(self) -> Literal["bwrap", "none"]:
        """The strongest rung that works, probed once."""
        return "bwrap" if (await self.probed())[0] else "none"

    async def probed(self) -> tuple[bool, str]:
        """Whether the sandbox works, and why not."""
        if self._probed is None:
            scratch = self._new_scratch()
            try:
                self._probed = await asyncio.to_thread(probe, self._bwrap, scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return self._probed

    async def run(self, job: Job, record: RecordEvents, cancelled: Asked) -> RunResult:
        """Run one job; always answers, and leaves nothing."""
        began = datetime.now(UTC)
        try:
            scratch = self._new_scratch()
        except OSError as error:
            return _failed(job, began, f"making a directory for the run in {self._scratch}: {error.strerror}")
        mark = uuid4().hex
        try:
            keys = self._keys_for(job)
            seen_as = JOB if job.isolation == "bwrap" else None
            seconds = job.timeout_seconds + 60
            async with ssh_agent(scratch, seen_as, job.hosts, keys, self._known_hosts, seconds) as agent:
                argv = self._argv(job, scratch, agent)
                return await self._child(job, argv, scratch, mark, record, cancelled, began)
        except GitmedicError as error:
            return _failed(job, began, error.message)
        finally:
            left = await asyncio.to_thread(sweep, mark)
            if left:
                log.error("run.left_behind", pids=left)
            shutil.rmtree(scratch, ignore_errors=True)

    async def _child(
        self,
        job: Job,
        argv: list[str],
        scratch: Path,
        mark: str,
        record: RecordEvents,
        cancelled: Asked,
        began: datetime,
    ) -> RunResult:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=scratch, start_new_session=True, limit=_LINE_BYTES,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1", MARK: mark,
                "PYTHONPATH": str(Path(receiver.__path__[0]).parent),  # the same package as ours, nothing beside it
            },
        )  # fmt: skip
        seen = _Seen()
        readers = [
            asyncio.create_task(_read_events(process, seen, job.output_mb << 20)),
            asyncio.create_task(_read_errors(process, seen)),
        ]
        watch, over = asyncio.create_task(_watch(job, mark, seen, cancelled)), asyncio.Event()
        flush = asyncio.create_task(_flush(seen, record, over))
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            process.stdin.write(job.model_dump_json().encode() + b"\n")
            await asyncio.wait([readers[0], watch], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            over.set()
            await _end(process, mark)
            await asyncio.gather(*readers, watch, flush, return_exceptions=True)
        await _hand_on(seen, record)
        return _result(job, seen, began, process.returncode)

    def _argv(self, job: Job, scratch: Path, agent: Path | None) -> list[str]:
        program = [sys.executable, "-m", "receiver.adapters.runner.child"]
        if job.isolation == "none":
            return program
        write_passwd(scratch)
        local = [host for host in job.hosts if host.connection == "local"]
        writable = [path for host in local for path in host.writable if Path(path).exists()]
        sockets = [path for host in local for path in host.sockets if Path(path).exists()]
        bwrap = shutil.which(self._bwrap) or self._bwrap
        shut_in = bwrap_argv(bwrap, scratch, writable=writable, sockets=sockets, agent=agent)
        return [*shut_in, *program]

    def _keys_for(self, job: Job) -> list[Path]:
        missing = [name for name in job.credentials if name not in self._keys]
        if missing:
            raise Refused(
                f"running {job.playbook_id}: credential {missing[0]!r} is not configured",
                next_step=f"add [credentials.{missing[0]}] to gitmedic.toml",
                reason="credential",
            )
        return [self._keys[name] for name in job.credentials]

    def _new_scratch(self) -> Path:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="run-", dir=self._scratch))


async def _read_events(process: asyncio.subprocess.Process, seen: _Seen, most: int) -> None:
    """Until the end of the stream; a line that is none of ours is passed over."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            seen.stopped = ("failed", f"one line of its output was longer than {_LINE_BYTES >> 20} MB")
            return
        if not line:
            return
        seen.size += len(line)
        if seen.size > most:
            seen.stopped = ("failed", f"it wrote more than {most >> 20} MB")
            return
        try:
            _take(json.loads(line), seen)
        except ValueError:
            log.warning("run.line_not_understood", size=len(line))


def _take(line: dict[str, Any], seen: _Seen) -> None:
    if "result" in line:
        seen.result = RunResult.model_validate(line["result"])
    else:
        event = RunEvent.model_validate(line["event"])
        seen.waiting.append(event)
        seen.texts.append(" ".join(filter(None, (event.kind, event.host, event.task, event.text))))
        if event.diff:
            seen.diffs.append(event.diff)


async def _read_errors(process: asyncio.subprocess.Process, seen: _Seen) -> None:
    assert process.stderr is not None  # noqa: S101 - it was asked for
    while chunk := await process.stderr.read(65536):
        seen.stderr = (seen.stderr + chunk)[-8192:]


async def _flush(seen: _Seen, record: RecordEvents, over: asyncio.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _BATCH_SECONDS)
        await _hand_on(seen, record)


async def _hand_on(seen: _Seen, record: RecordEvents) -> None:
    """In order; a store that does not answer keeps nobody from knowing how the run ended."""
    while seen.waiting:
        batch = seen.waiting[:_BATCH_COUNT]
        try:
            await record(batch)
        except GitmedicError as error:
            log.warning("run.events_wait", error=error.message, count=len(seen.waiting))
            return
        seen.waiting = seen.waiting[len(batch) :]


async def _watch(job: Job, mark: str, seen: _Seen, cancelled: Asked) -> None:
    """Returns when the run must end: cancelled, out of time, or too large."""
    end = asyncio.get_running_loop().time() + job.timeout_seconds
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if asyncio.get_running_loop().time() > end:
            seen.stopped = ("timeout", f"it took longer than {job.timeout_seconds} s")
            return
        try:
            if await cancelled():
                seen.stopped = ("cancelled", "a person stopped it")
                return
        except GitmedicError as error:
            log.warning("run.cancel_unknown", error=error.message)
        used = await asyncio.to_thread(_memory_mb, mark)
        if used > job.memory_mb:
            seen.stopped = ("failed", f"it used {used} MB of memory, {job.memory_mb} is its limit")
            return


def _memory_mb(mark: str) -> int:
    """Proportional memory of all of the run's processes."""
    total = 0
    for pid in marked(mark):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total >> 10


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    """Everything of the run: the namespace goes with its first process, the mark finds the rest."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        try:
            await asyncio.wait_for(process.wait(), 0.3)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
    await asyncio.to_thread(sweep, mark)
    await process.wait()


def _result(job: Job, seen: _Seen, began: datetime, rc: int | None) -> RunResult:
    output, diff = "\n".join(seen.texts)[:_MAX_DIFF], "\n".join(seen.diffs)[:_MAX_DIFF]
    if seen.stopped is not None or seen.result is None:
        said = seen.stderr.decode(errors="replace").strip().splitlines()
        why = f"its process ended ({rc})" + (f": {said[-1][:300]}" if said else "")
        status, why = seen.stopped or ("failed", why)
        ended = datetime.now(UTC)
        if seen.stopped:
            rc = None  # a child that was told to end may end with 0, which is not the run's own word
        return RunResult.model_validate(
            {"status": status, "rc": rc, "why": why, "output": output, "diff": diff, "started_at": began,
             "ended_at": ended, "isolation": job.isolation}
        )  # fmt: skip
    # this machine's clock, not the child's word, says when it was over
    return seen.result.model_copy(update={"output": output, "diff": diff, "ended_at": datetime.now(UTC)})


def _failed(job: Job, began: datetime, why: str) -> RunResult:
    return RunResult(status="failed", why=why, started_at=began, ended_at=datetime.now(UTC), isolation=job.isolation)
