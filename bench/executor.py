"""The executor: two of them beside one, what many events cost, and how soon a cancelled run is gone.

What is measured, with everything real (planner, executors, repository, PostgreSQL, sandbox, Ansible):

- 40 approved runs of 2 s on 40 hosts, by one executor and by two of them, on two sites, in turn; from the first
  beginning to the last end. Target: two are at least 1.8 times as fast, since executors share nothing but the
  database. That is judged with one run at a time in each, where a machine of two cores has room for both; with two at
  a time four sandboxed Ansibles share those cores, and it is the machine that is measured: said, not judged.
- 10,000 events as a run hands them on, in its own batches: events stored a second (target: 2,000, above what any
  run writes), and a run with many events with the real store to the same run with none (target: at most 1.1).
- A cancelled run that has put a process into the background: seconds from the person's word until nothing of it is left
  (target: below 6 s, which is Ansible's own patience of 5 s and a look at the database).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from bench import place
from bench.report import Measure
from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import RunnerSettings
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.runs import PostgresRuns
from receiver.config import load
from receiver.domain.run import Job, JobHost, RunEvent, RunResult
from receiver.identity import new_id
from receiver.office import Office, open_office
from receiver.starter import os_user

NAME = "executor"
_SITES = ("left", "right")
_ENOUGH_SECONDS = 600.0
_PLAY = """- name: Bench
  hosts: targets
  gather_facts: false
  tasks:
    - name: The one task
      {task}
"""
_CATALOG = """schema: 1
title: Take a while
use_when: it is measured
not_when: else
effect: change
risk: low
handles: []
params:
  type: object
  additionalProperties: false
  required: [host]
  properties:
    host: {type: string, x-kind: host}
targets: {param: host, max_hosts: 1, serial: 1}
scope: own
locks: [host]
limits: {timeout_seconds: 60, memory_mb: 512, output_mb: 5}
reversible: yes
quality: {check_mode: done, idempotent: done, verify: todo, rollback: exempt, real_target_test: done, runbook: done}
"""


async def measure(
    rounds: int, seconds: float, *, runs: int = 40, run_seconds: float = 2, events: int = 10_000, loops: int = 3_000
) -> AsyncIterator[Measure]:
    """`seconds` has no say: what is measured is a number of runs and of events."""
    del seconds
    for hands, judged in ((1, (">=", 1.8)), (2, ())):
        one, two = await _executors(rounds, runs, run_seconds, hands)
        what = f"{runs} runs of {run_seconds:g} s, {hands} at a time in each"
        yield Measure(NAME, f"{what}: one executor", "s", one)
        yield Measure(NAME, f"{what}: two executors", "s", two)
        faster = [slow / fast for slow, fast in zip(one, two, strict=True)]
        yield Measure(NAME, f"{what}: two executors to one", "ratio", faster, *judged)
    async with place.database() as here, open_office(here.settings) as office:
        run = _Run(here, office)
        await run.begin()
        rates = [await run.stored(events) for _ in range(rounds)]
        yield Measure(NAME, f"{events:,} events stored a second", "1/s", rates, ">=", 2_000)
        pairs = [(await run.looped(loops, real=True), await run.looped(loops, real=False)) for _ in range(rounds)]
        yield Measure(NAME, f"a run with {loops:,} events", "s", [real for real, _ in pairs])
        slower = [real / none for real, none in pairs]
        yield Measure(NAME, f"a run with {loops:,} events: stored to not stored", "ratio", slower, "<=", 1.1)
        gone = [await run.cancelled() for _ in range(rounds)]
        yield Measure(NAME, "cancelled, and nothing is left", "s", gone, "<", 6)


class _Run:
    """One run after the other through the real runner, with the real store behind it."""

    def __init__(self, here: place.Place, office: Office) -> None:
        self._runs = PostgresRuns(office.store.pool)
        self._desk, self._place = PostgresDesk(office.store.pool), here
        self._runner = AnsibleRunner(RunnerSettings(), data_dir=here.path)

    async def begin(self) -> None:
        """A case that the runs belong to."""
        self._case = new_id()
        self._place.sql(
            "INSERT INTO cases (id, kind, body, role) VALUES (%(id)s, 'approved', '{}', 'nobody')", {"id": self._case}
        )
        self._isolation = await self._runner.isolation()

    async def stored(self, count: int) -> float:
        """Events a second, in the batches of a run."""
        attempt, batch = await self._attempt(), 100
        lines = [_event(number) for number in range(count)]
        begun = time.perf_counter()
        for first in range(0, count, batch):
            await self._runs.record(attempt, lines[first : first + batch])
        took = time.perf_counter() - begun
        ((found,),) = self._place.sql("SELECT count(*) FROM run_events WHERE attempt_id = %(id)s", {"id": attempt})
        if found != count:
            raise SystemExit(f"{found} of {count} events were stored")
        return count / took

    async def looped(self, count: int, *, real: bool) -> float:
        """Seconds of a run with so many events."""
        attempt = await self._attempt()

        async def store(events: Sequence[RunEvent]) -> None:
            if real:
                await self._runs.record(attempt, events)

        task = f'ansible.builtin.debug: {{msg: hello}}\n      loop: "{{{{ range({count}) | list }}}}"'
        begun = time.perf_counter()
        result = await self._runner.run(self._job(task), store, lambda: self._runs.cancelled(attempt))
        took = time.perf_counter() - begun
        if result.status != "successful":
            raise SystemExit(f"the run {result.status}: {result.why}")
        return took

    async def cancelled(self) -> float:
        """Seconds from a person's word until no process of the run is left."""
        run = new_id()
        attempt = await self._attempt(run)
        program = "import os,time; os.fork() or os.setsid(); time.sleep(300)"
        job = self._job(f"ansible.builtin.command: {{argv: [{sys.executable}, -c, {json.dumps(program)}]}}")

        async def store(events: Sequence[RunEvent]) -> None:
            """Nobody reads them here."""

        task = asyncio.create_task(self._runner.run(job, store, lambda: self._runs.cancelled(attempt)))
        while len(_sleeping(program)) < 2:
            if task.done():
                raise SystemExit(f"the run {task.result().status}: {task.result().why}")
            await asyncio.sleep(0.05)
        begun = time.perf_counter()
        await self._desk.cancel(run, "os:bench")
        result: RunResult = await task
        took = time.perf_counter() - begun
        if result.status != "cancelled" or _sleeping(program):
            raise SystemExit(f"the run {result.status}, and {len(_sleeping(program))} processes are left")
        return took

    async def _attempt(self, run: str | None = None) -> str:
        return await self._runs.begin(run or new_id(), self._case, "run", "bench")

    def _job(self, task: str) -> Job:
        return Job.model_validate(
            {"run_id": new_id(), "mode": "run", "playbook_id": "bench", "params": {}, "isolation": self._isolation,
             "files": {"playbook.yml": _PLAY.format(task=task).encode()}, "timeout_seconds": 300, "output_mb": 100,
             "hosts": (JobHost(name="here", connection="local"),)}
        )  # fmt: skip


def _sleeping(program: str) -> list[int]:
    """Processes that run this very program."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().endswith(f"\0-c\0{program}\0".encode()):
                found.append(int(entry.name))
    return found


def _event(number: int) -> RunEvent:
    return RunEvent.model_validate(
        {"seq": number, "at": "2026-01-01T00:00:00Z", "kind": "item", "host": "here", "task": "The one task",
         "text": "hello"}
    )  # fmt: skip


async def _executors(rounds: int, runs: int, run_seconds: float, hands: int) -> tuple[list[float], list[float]]:
    """Seconds by one executor and by two of them, in turn, in one installation with one planner."""
    took: tuple[list[float], list[float]] = ([], [])
    async with place.database() as here:
        _furnish(here, runs, run_seconds)
        async with open_office(load(here.path, environment={})) as office:
            with place.process(_work("plan"), here.path.parent / "plan.log", _told(here)):
                for _ in range(rounds):
                    for executors in (1, 2):
                        took[executors - 1].append(await _batch(here, office, executors, runs, hands))
    return took


async def _batch(here: place.Place, office: Office, executors: int, runs: int, hands: int) -> float:
    """From the first beginning to the last end of runs that are all approved before any executor starts."""
    log = here.path.parent / "execute.log"
    with place.process(_work("execute"), log, _told(here)):
        cases = [await _dispatch(office, number) for number in range(runs)]
        await _until(here, cases, "proposed")
    person = (await office.doors.policy()).people[0]
    for case in cases:
        head = (await office.store.archive.case(case) or {})["proposal"]["head_sha"]
        await office.doors.approve(case, head_sha=head, person=person, via="terminal")
    await _until(here, cases, "approved")
    with contextlib.ExitStack() as stack:
        for site in _SITES if executors > 1 else ("",):
            stack.enter_context(place.process(_work("execute", site), log, _told(here, hands)))
        await _until(here, cases, "executed", "verified", "ended", "closed")  # the proof takes its time
    query = """SELECT count(*) FILTER (WHERE status = 'successful'),
                      extract(epoch FROM max(ended_at) - min(begun_at))::float
               FROM attempts WHERE mode = 'run' AND case_id = ANY (%(cases)s)"""
    ((well, took),) = here.sql(query, {"cases": cases})
    if well != runs:
        raise SystemExit(f"{runs - well} of {runs} runs did not end well")
    return float(took)


async def _until(here: place.Place, cases: list[str], *kinds: str) -> None:
    end = time.monotonic() + _ENOUGH_SECONDS
    query = "SELECT id, kind, outcome, why FROM cases WHERE id = ANY (%(cases)s) AND NOT kind = ANY (%(kinds)s)"
    while left := here.sql(query, {"cases": cases, "kinds": list(kinds)}):
        over = [row for row in left if row[1] == "closed"]
        if over or time.monotonic() > end:
            raise SystemExit(f"{len(left)} cases are not {kinds[0]}; one of them: {(over or left)[0]}")
        await asyncio.sleep(0.1)


async def _dispatch(office: Office, number: int) -> str:
    return await office.doors.dispatch("bench_wait", {"host": f"host{number}"}, actor=f"os:{os_user()}", reason="bench")


def _furnish(here: place.Place, hosts: int, run_seconds: float) -> None:
    """The content of its repository: one playbook that takes its time, and a host for each run."""
    person = os_user()
    inventory = {
        f"host{number}": {"ansible_connection": "local", "gitmedic": {"site": _SITES[number % len(_SITES)]}}
        for number in range(hosts)
    }
    policy = {
        "mode": "propose", "approvals": {"solo": person}, "isolation": {"none_allowed": list(_SITES)},
        "people": [{"name": person, "os": [person], "session": [person], "approves": "medium", "dispatches": True}],
        "limits": {"open_proposals": 1000, "proposals_per_hour": 1000, "rehearsals": 8},  # no part of the measure
    }  # fmt: skip
    task = f"ansible.builtin.command: {{argv: [sleep, '{run_seconds:g}']}}"
    files = {
        "playbooks/bench/wait/playbook.yml": _PLAY.format(task=task).encode(),
        "playbooks/bench/wait/catalog.yml": _CATALOG.encode(),
        "inventory/hosts.yml": json.dumps({"all": {"hosts": inventory}}).encode(),
        "policy.yml": json.dumps(policy).encode(),
    }
    shutil.rmtree(here.settings.repo.path)
    first = create_ops_repository(here.settings.repo.path, files, f"{person} <{person}@localhost>")
    here.sql("UPDATE adoptions SET commit = %(commit)s", {"commit": first})


def _work(role: str, site: str = "") -> list[str]:
    argv = [sys.executable, "-P", "-m", "receiver", "work", "--role", role]
    return [*argv, "--site", site] if site else argv


def _told(here: place.Place, hands: int = 4) -> dict[str, str]:
    return {"GITMEDIC_DATA_DIR": str(here.path), "GITMEDIC_WORKER__CONCURRENCY": str(hands)}
