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
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

import receiver
from receiver.adapters.runner import agent, certificates, ladder, remains
from receiver.adapters.runner.collections import installed_in, provide
from receiver.adapters.runner.credentials import Revealed, revealed, way
from receiver.adapters.runner.gate import agent_door, network_gate
from receiver.adapters.runner.groups import Groups, open_groups
from receiver.adapters.runner.kin import MARK, sweep
from receiver.adapters.runner.limits import exceeded, folder_bytes, words
from receiver.adapters.runner.place import NAME, lay_out, private_place
from receiver.adapters.runner.redaction import Redactor
from receiver.adapters.runner.sandbox import Cell, LandlockKind, command, give_to, seen_at, texts, write_passwd
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.adapters.runner.words import explained, with_next_step
from receiver.domain.lint import check_run_names
from receiver.domain.run import Hop, Job, JobHost, RunEvent, Rung, RunResult
from receiver.errors import GitmedicError

log = structlog.get_logger()

RecordEvents = Callable[[Sequence[RunEvent]], Awaitable[None]]
Asked = Callable[[], Awaitable[bool]]
#: events are handed on at least this often, or when there are this many
_BATCH_SECONDS, _BATCH_COUNT = 0.1, 100
#: how often to look for a cancel, and at the memory
_LOOK_SECONDS = 0.5
_LINE_BYTES = 4 << 20
_MAX_DIFF = 200_000
#: how long what was told to end may take
_END_SECONDS = 3
#: what bounded places beside the run's own directory may hold, and some room, before the kernel ends a process of it
_ASIDE_MB = 192
_BY_BWRAP = ("netns", "bwrap")
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # to look for some takes longer than to read the job
}  # fmt: skip
#: the same package as ours, from where it lies; what lies beside it need not be listed, and may not be
_START = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("receiver", f"{sys.argv[1]}/__init__.py")
sys.modules["receiver"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["receiver"])
from receiver.adapters.runner.child import main
main()
"""


@dataclass(frozen=True)
class _Run:
    """One run while it lives."""

    job: Job
    scratch: Path
    mark: str
    groups: Groups
    found: Revealed


@dataclass
class _Seen:
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


class AnsibleRunner:
    """Runs jobs on this machine, each with the credentials that its playbook names."""

    def __init__(
        self,
        settings: RunnerSettings,
        *,
        data_dir: Path,
        credentials: Mapping[str, CredentialSettings] | None = None,
    ) -> None:
        self._scratch = settings.scratch or data_dir / "scratch"
        self._known_hosts = settings.known_hosts or data_dir / "known_hosts"
        self._settings, self._data_dir = settings, data_dir
        self._collections = installed_in(settings.collections)
        self._credentials = dict(credentials or {})
        self._found: ladder.Found | None = None

    def clear(self) -> None:
        """End and remove what executors that were killed have left."""
        left = [name for root in self._roots() for name in remains.clear(root)]
        if left:
            log.warning("run.cleared", directories=left)

    async def is_over(self, run: str) -> bool:
        """By the directory that whoever is at work on it holds."""
        over = [await asyncio.to_thread(remains.is_over, root, run) for root in self._roots()]
        return all(over)

    def _roots(self) -> set[Path]:
        return {ladder.scratch_root(kind, self._scratch) for kind in ladder.kinds()} | {self._scratch}

    async def isolation(self) -> Rung:
        """The strongest rung that works, probed once."""
        return (await self.probed()).rung

    async def probed(self) -> ladder.Found:
        """The rung, why no higher one, and what it does not stop."""
        if self._found is None:
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._found = await asyncio.to_thread(ladder.find, self._settings, self._scratch)
        return self._found

    async def run(self, job: Job, record: RecordEvents, cancelled: Asked) -> RunResult:
        """Run one job; always answers, and leaves nothing."""
        began, mark, held = datetime.now(UTC), remains.mark_of(job.run_id), contextlib.ExitStack()
        job = job.model_copy(update={"isolation": rung_of(job)})
        kind = await self._kind(job)
        try:
            scratch = held.enter_context(remains.fresh(ladder.scratch_root(kind, self._scratch), mark))
        except OSError as error:
            return _failed(job, began, f"making a directory for the run in {self._scratch}: {error.strerror}")
        groups = Groups()
        try:
            check_run_names(job.files)  # whoever made the job: what lies beside a playbook could run code of its own
            found, hosts = await revealed(job, self._credentials), way(job)
            await asyncio.to_thread(provide, job.collections, self._collections, scratch / "collections")
            certificates.provide_authorities(self._settings.ca_file, self._data_dir, scratch)
            groups = open_groups(mark, job.memory_mb + job.scratch_mb + _ASIDE_MB, job.processes)
            cell = _cell(job, scratch, kind, mark, groups)
            inside = seen_at(job.isolation, cell)
            async with private_place(found, scratch / NAME, with_agent=bool(hosts)) as place:
                if place is not None and hosts:
                    sees_own = inside == scratch and kind == "same"
                    await agent.load(
                        scratch, place, inside, job, hosts, found.keys, self._known_hosts, sees_own=sees_own
                    )
                async with _doors(job, cell, place) as shown:
                    argv = self._argv(job, shown)
                    return await self._child(_Run(job, scratch, mark, groups, found), argv, record, cancelled, began)
        except GitmedicError as error:
            return _failed(job, began, with_next_step(error))
        finally:
            await asyncio.to_thread(groups.end)
            left = await asyncio.to_thread(sweep, mark)
            if left:
                log.error("run.left_behind", pids=left)
            held.close()

    async def _child(
        self, run: _Run, argv: list[str], record: RecordEvents, cancelled: Asked, began: datetime
    ) -> RunResult:
        job = run.job
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=run.scratch, start_new_session=True, limit=_LINE_BYTES,
            env=_ENVIRONMENT | ({MARK: run.mark} if job.isolation in _BY_BWRAP else {}),  # the keeper has no mark
        )  # fmt: skip
        seen = _Seen(redactor=Redactor(run.found.values()))
        readers = [
            asyncio.create_task(_read_events(process, seen, job)),
            asyncio.create_task(_read_errors(process, seen)),
        ]
        watch, over = asyncio.create_task(_watch(run, process.pid, seen, cancelled)), asyncio.Event()
        flush = asyncio.create_task(_flush(seen, record, over))
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            process.stdin.write(job.model_dump_json().encode() + b"\n")
            await asyncio.wait([readers[0], watch], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            over.set()
            await _end(process, run.mark)
            await asyncio.gather(*readers, watch, flush, return_exceptions=True)
        met = run.groups.met() if seen.stopped is None else ""
        if met and (seen.result is None or seen.result.status != "successful"):
            seen.is_over(job, met)
        await _hand_on(seen, record)
        result = _result(job, seen, began, process.returncode)
        return result.model_copy(update={"why": explained(result.why, job, dict(run.found.kinds))})

    def _argv(self, job: Job, cell: Cell) -> list[str]:
        write_passwd(cell.scratch, seen_at(job.isolation, cell), cell.uid)
        if cell.uid is not None:
            give_to(cell.scratch, cell.uid)
        shut_in = command(job.isolation, cell, shutil.which(self._settings.bwrap) or self._settings.bwrap)
        return [*shut_in, sys.executable, "-c", _START, receiver.__path__[0]]

    async def _kind(self, job: Job) -> LandlockKind:
        if job.isolation != "landlock":
            return "same"
        found = await self.probed()
        return found.kind if found.rung == "landlock" else ladder.kinds()[0]


def rung_of(job: Job) -> Rung:
    """Without a network only where every target is reached by SSH, through the gate; else the rung below."""
    is_remote = all(host.connection == "ssh" for host in job.hosts)
    return "bwrap" if job.isolation == "netns" and not is_remote else job.isolation


def _cell(job: Job, scratch: Path, kind: LandlockKind, mark: str, groups: Groups) -> Cell:
    local = [host for host in job.hosts if host.connection == "local"]
    writable = texts(path for host in local for path in host.writable)
    sockets = texts(path for host in local for path in host.sockets)
    is_own = bool(writable or sockets) and kind == "apart"  # what is declared belongs to the executor's own user
    return Cell(
        scratch=scratch,
        writable=writable,
        sockets=sockets,
        ports=None if local else tuple(sorted({port for _, port in _first_hops(job)})),
        scratch_mb=job.scratch_mb,
        processes=job.processes,
        kind=kind,
        uid=None if is_own else ladder.uid_for(kind),
        environment={} if job.isolation in _BY_BWRAP else {MARK: mark},
        cgroups=groups.doors,
    )


def _first_hops(job: Job) -> set[tuple[str, int]]:
    """Where connections begin: at a target itself, or at the first host on the way to it."""
    firsts: list[Hop | JobHost] = [host.jump[0] if host.jump else host for host in job.hosts]
    return {(first.address, first.port) for first in firsts}


@contextlib.asynccontextmanager
async def _doors(job: Job, cell: Cell, place: Path | None) -> AsyncIterator[Cell]:
    """The cell with what leads out of it: its private place, and the gate where there is no network."""
    if place is None:
        yield cell
    elif job.isolation == "netns":
        async with network_gate(cell.scratch, seen_at("netns", cell), frozenset(_first_hops(job))):
            yield replace(cell, agent=place)
    elif cell.kind != "same":
        async with agent_door(cell.scratch, place, cell.uid):
            lay_out(place, cell.scratch / NAME)  # for another uid: it is given them with the rest of its directory
            yield cell
    else:
        if job.isolation not in _BY_BWRAP:
            (cell.scratch / NAME).symlink_to(place)
        yield replace(cell, agent=place)


async def _read_events(process: asyncio.subprocess.Process, seen: _Seen, job: Job) -> None:
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


def _take(line: dict[str, Any], seen: _Seen) -> None:
    if "result" in line:
        seen.result = seen.redactor.result(RunResult.model_validate(line["result"]))
    else:
        event = seen.redactor.event(RunEvent.model_validate(line["event"]))
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


async def _watch(run: _Run, root: int, seen: _Seen, cancelled: Asked) -> None:
    """Returns when the run must end: cancelled, out of time, or too large."""
    job = run.job
    end = asyncio.get_running_loop().time() + job.timeout_seconds
    given = await asyncio.to_thread(folder_bytes, run.scratch)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if asyncio.get_running_loop().time() > end:
            return seen.is_over(job, "timeout_seconds")
        try:
            if await cancelled():
                seen.stopped = ("cancelled", "a person stopped it")
                return None
        except GitmedicError as error:
            log.warning("run.cancel_unknown", error=error.message)
        key = await asyncio.to_thread(exceeded, job, root, run.mark, run.scratch, given)
        if key:
            return seen.is_over(job, key)


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    """Everything of the run: the namespace goes with its first process, the keeper ends its children and is given
    the time for it, the mark finds the rest."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        try:
            await asyncio.wait_for(process.wait(), 0.3)
        except TimeoutError:
            await _tell(process, signal.SIGTERM)
            await _tell(process, signal.SIGKILL)
    await asyncio.to_thread(sweep, mark)
    await process.wait()


async def _tell(process: asyncio.subprocess.Process, number: int) -> None:
    """All of its group; and wait a little for the end."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)


def _result(job: Job, seen: _Seen, began: datetime, rc: int | None) -> RunResult:
    output, diff = "\n".join(seen.texts)[:_MAX_DIFF], "\n".join(seen.diffs)[:_MAX_DIFF]
    if seen.stopped is not None or seen.result is None:
        said = seen.redactor.text(seen.stderr.decode(errors="replace")).strip().splitlines()
        why = f"its process ended ({rc})" + (f": {said[-1][:300]}" if said else "")
        status, why = seen.stopped or ("failed", why)
        ended = datetime.now(UTC)
        if seen.stopped:
            rc = None  # a child that was told to end may end with 0, which is not the run's own word
        return RunResult.model_validate(
            {"status": status, "rc": rc, "why": why, "output": output, "diff": diff, "started_at": began,
             "ended_at": ended, "isolation": job.isolation, "limit": seen.limit}
        )  # fmt: skip
    # this machine's clock, not the child's word, says when it was over
    return seen.result.model_copy(update={"output": output, "diff": diff, "ended_at": datetime.now(UTC)})


def _failed(job: Job, began: datetime, why: str) -> RunResult:
    return RunResult(status="failed", why=why, started_at=began, ended_at=datetime.now(UTC), isolation=job.isolation)
