"""The Runner port: one child process per run, its events as they come, and nothing left when it ends.

Decides when a run has had its time, its memory or its output, and ends all of it then. Credentials are looked
up here, by name, for the approved hosts only; a run that asks for one that is not configured is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

import receiver
from receiver.adapters.runner import agent, certificates, ladder, remains, told
from receiver.adapters.runner.collections import installed_in, provide
from receiver.adapters.runner.credentials import Revealed, revealed, way
from receiver.adapters.runner.doors import first_hops, open_doors
from receiver.adapters.runner.groups import Groups, open_groups
from receiver.adapters.runner.kin import MARK, sweep
from receiver.adapters.runner.limits import exceeded, folder_bytes
from receiver.adapters.runner.place import private_place
from receiver.adapters.runner.redaction import Redactor
from receiver.adapters.runner.sandbox import (
    BY_BWRAP,
    Cell,
    LandlockKind,
    command,
    give_to,
    seen_at,
    texts,
    write_passwd,
)
from receiver.adapters.runner.seen import NAME
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.adapters.runner.words import explained, with_next_step
from receiver.domain.lint import check_run_names
from receiver.domain.run import Job, Rung, RunResult
from receiver.errors import GitmedicError, Refused

log = structlog.get_logger()

Asked = Callable[[], Awaitable[bool]]
#: how often to look for a cancel, and at the memory
_LOOK_SECONDS = 0.5
#: how long what was told to end may take
_END_SECONDS = 3
#: what bounded places beside the run's own directory may hold, and some room, before the kernel ends a process of it
_ASIDE_MB = 192
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
        left = [name for root, uids in self._roots() for name in remains.clear(root, uids=uids)]
        if left:
            log.warning("run.cleared", directories=left)

    async def is_over(self, run: str) -> bool:
        """By the directory that whoever is at work on it holds."""
        over = [await asyncio.to_thread(remains.is_over, root, run, uids) for root, uids in self._roots()]
        return all(over)

    def _roots(self) -> list[tuple[Path, Container[int]]]:
        """Where runs have their directories, and the uids beside our own that they may have there."""
        return [(ladder.scratch_root(kind, self._scratch), ladder.uids_of(kind)) for kind in ("same", *ladder.kinds())]

    async def isolation(self) -> Rung:
        """The strongest rung that works, probed once."""
        return (await self.probed()).rung

    async def probed(self) -> ladder.Found:
        """The rung, why no higher one, and what it does not stop."""
        if self._found is None:
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._found = await asyncio.to_thread(ladder.find, self._settings, self._scratch)
        return self._found

    async def run(self, job: Job, record: told.RecordEvents, cancelled: Asked) -> RunResult:
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
            async with contextlib.AsyncExitStack() as opened:
                with _not_yet_begun():
                    await asyncio.to_thread(provide, job.collections, self._collections, scratch / "collections")
                    certificates.provide_authorities(self._settings.ca_file, self._data_dir, scratch)
                    groups = open_groups(mark, job.memory_mb + job.scratch_mb + _ASIDE_MB, job.processes)
                    cell = _cell(job, scratch, kind, mark, groups)
                    inside = seen_at(job.isolation, cell)
                    place = await opened.enter_async_context(
                        private_place(found, scratch / NAME, with_agent=bool(hosts))
                    )
                    if place is not None and hosts:
                        sees_own = inside == scratch and kind == "same"
                        await agent.load(
                            scratch, place, inside, job, hosts, found.keys, self._known_hosts, sees_own=sees_own
                        )
                    shown = await opened.enter_async_context(open_doors(job, cell, place))
                    process = await self._begin(job, shown, mark)
                return await self._child(_Run(job, scratch, mark, groups, found), process, record, cancelled, began)
        except GitmedicError as error:
            return _failed(job, began, with_next_step(error))
        finally:
            await asyncio.to_thread(groups.end)
            left = await asyncio.to_thread(sweep, mark)
            if left:
                log.error("run.left_behind", pids=left)
            held.close()

    async def _child(
        self,
        run: _Run,
        process: asyncio.subprocess.Process,
        record: told.RecordEvents,
        cancelled: Asked,
        began: datetime,
    ) -> RunResult:
        job = run.job
        seen = told.Seen(redactor=Redactor(run.found.values()))
        readers = [
            asyncio.create_task(told.read_events(process, seen, job)),
            asyncio.create_task(told.read_errors(process, seen)),
        ]
        watch, over = asyncio.create_task(_watch(run, process.pid, seen, cancelled)), asyncio.Event()
        flush = asyncio.create_task(told.flush(seen, record, over))
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
        await told.hand_on(seen, record)
        result = told.result_of(job, seen, began, process.returncode)
        return result.model_copy(update={"why": explained(result.why, job, dict(run.found.kinds))})

    async def _begin(self, job: Job, cell: Cell, mark: str) -> asyncio.subprocess.Process:
        write_passwd(cell.scratch, seen_at(job.isolation, cell), cell.uid)
        if cell.uid is not None:
            give_to(cell.scratch, cell.uid)
        shut_in = command(job.isolation, cell, shutil.which(self._settings.bwrap) or self._settings.bwrap)
        return await asyncio.create_subprocess_exec(
            *shut_in, sys.executable, "-c", _START, receiver.__path__[0],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=cell.scratch, start_new_session=True, limit=told.LINE_BYTES,
            env=_ENVIRONMENT | ({MARK: mark} if job.isolation in BY_BWRAP else {}),  # the keeper has no mark
        )  # fmt: skip

    async def _kind(self, job: Job) -> LandlockKind:
        if job.isolation != "landlock":
            return "same"
        found = await self.probed()
        return found.kind if found.rung == "landlock" else ladder.kinds()[0]


@contextlib.contextmanager
def _not_yet_begun() -> Iterator[None]:
    """Whatever this machine lacks until there is a process: nothing of the run was begun, and that is known."""
    try:
        yield
    except OSError as error:
        about = f" {error.filename!r}" if error.filename else ""
        raise Refused(
            f"beginning a run: {error.strerror or error}{about}; nothing of it was begun",
            next_step="gitmedic doctor; look at disk, memory and processes of the executor's machine", reason="machine",
        ) from error  # fmt: skip


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
        ports=None if local else tuple(sorted({port for _, port in first_hops(job)})),
        scratch_mb=job.scratch_mb,
        processes=job.processes,
        kind=kind,
        uid=None if is_own else ladder.uid_for(kind),
        environment={} if job.isolation in BY_BWRAP else {MARK: mark},
        cgroups=groups.doors,
    )


async def _watch(run: _Run, root: int, seen: told.Seen, cancelled: Asked) -> None:
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


def _failed(job: Job, began: datetime, why: str) -> RunResult:
    return RunResult(status="failed", why=why, started_at=began, ended_at=datetime.now(UTC), isolation=job.isolation)
