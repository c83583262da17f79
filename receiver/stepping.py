"""Begins a run once, and walks it over its hosts, each step in a child process that sees only its hosts (rule S19).

A run is claimed, and its beginning recorded, before there is a process, with its locks in hand. Decides when to go on:
after a step that went well, with role plan's word that it is proved so, nobody having called it off. Stops at the first
failure. A step is recorded before its process exists.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from receiver.domain.case import Approved
from receiver.domain.run import Job, RunEvent, RunResult
from receiver.domain.steps import summed
from receiver.errors import Conflict, Retry
from receiver.ports import Branches, Ledger, Locks, Runner, Runs, Steps

T = TypeVar("T")

#: a clock that is wrong by more is not believed
JUMP_SECONDS = 5.0
#: how long the proof of one host may take before the next one is left alone
PROVE_SECONDS = 180.0
ASK_SECONDS = 1.0
#: pauses between the tries to write something down: a beginning is soon too late, an end never is, for a quarter
#: of an hour, which is as long as its case is held
PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
OF_AN_END = (*PATIENCE, *(8.0,) * 108)


@asynccontextmanager
async def holding(locks: Locks, run: str, case: str, names: Sequence[str], reason: str) -> AsyncIterator[None]:
    """All these locks, or `Retry` with who holds the first; given back in the end, whatever it is."""
    holder = await locks.take(run, case, names, reason=reason)
    if holder is not None:
        raise Retry(f"lock: {holder}", after_seconds=5)
    try:
        yield
    finally:
        await locks.free(run)


async def begin_once(run: str, case: str, instance: str, *, branches: Branches, runs: Runs) -> str | None:
    """Claim the run and record its beginning; the attempt's id. None: it was claimed or begun before, by whomever.

    The claim comes first: a forge that does not answer then leaves nothing begun, and the run is tried again. From
    then on a database that is away for a moment is waited for: nobody could claim it a second time.
    """
    if not await branches.claim(run, instance, secrets.token_hex(16)):
        return None
    tries = 0

    async def begin() -> str:
        nonlocal tries
        tries += 1
        return await runs.begin(run, case, "run", instance)

    try:
        return await patiently(begin)
    except Conflict:
        # the claim is ours, so a beginning found after a lost answer is ours as well
        found = await runs.attempt_of(run, "run") if tries > 1 else None
        return found[0] if found is not None and found[1] is None else None


async def timed(result: RunResult, ledger: Ledger) -> RunResult:
    """By the database's clock where this machine's has jumped: others wait for what is newer than the run's end."""
    try:
        off = await ledger.now() - result.ended_at
    except Retry:
        return result
    if abs(off.total_seconds()) < JUMP_SECONDS:
        return result
    return result.model_copy(update={"started_at": result.started_at + off, "ended_at": result.ended_at + off})


async def walk(
    case: Approved, jobs: Sequence[Job], *, attempt: str, runs: Runs, steps: Steps, runner: Runner, ledger: Ledger
) -> RunResult:
    """All the jobs in order, as far as they go well; what they add up to."""
    run, hosts = case.runfile.run, [tuple(host.name for host in job.hosts) for job in jobs]
    results: list[RunResult] = []
    said = 0

    async def record(events: Sequence[RunEvent]) -> None:
        # one log for the whole run: its numbers go on where the step before ended
        await runs.record(attempt, [event.model_copy(update={"seq": event.seq + before}) for event in events])
        nonlocal said
        said = max(said, *(event.seq + before + 1 for event in events)) if events else said

    before = 0
    for number, job in enumerate(jobs):
        before = said
        why = await _may_go_on(case, number, attempt, runs) if number else ""
        if why:
            stopped = summed(results, hosts, why=why)
            is_off = why == CALLED_OFF
            return stopped.model_copy(update={"status": "cancelled"}) if is_off else stopped
        await _begin(runs, steps, run, number, attempt, hosts[number])
        result = await timed(await runner.run(job, record, lambda: runs.cancelled(attempt)), ledger)
        await patiently(partial(steps.end_step, run, number, result), OF_AN_END)
        results.append(result)
        if result.status != "successful":
            break
    return summed(results, hosts)


CALLED_OFF = "a person stopped it"


async def _may_go_on(case: Approved, number: int, attempt: str, runs: Runs) -> str:
    """Why the next step does not begin; empty when role plan says that it may. No answer is a no."""
    run, clock = case.runfile.run, asyncio.get_running_loop()
    end, last = clock.time() + PROVE_SECONDS, "no planner answers"
    while clock.time() < end:
        try:
            if await runs.cancelled(attempt):
                return CALLED_OFF
            clearance = await runs.ask_clearance(run, case.id)
            if clearance is not None:
                await runs.drop_clearance(run)
                if clearance.step == number and clearance.granted:
                    return ""
                refused = [answer.why for answer in clearance.answers if answer.passed is False]
                last = "; ".join(refused) or last
        except Retry as error:
            last = error.message
        await asyncio.sleep(ASK_SECONDS)
    return f"not proved in {PROVE_SECONDS:.0f} s: {last}"


async def patiently(act: Callable[[], Awaitable[T]], pauses: Sequence[float] = PATIENCE) -> T:
    """A database that is started again meanwhile is waited for, else what happened would be unknown."""
    for seconds in pauses:
        try:
            return await act()
        except Retry:
            await asyncio.sleep(seconds)
    return await act()


async def _begin(runs: Runs, steps: Steps, run: str, number: int, attempt: str, hosts: Sequence[str]) -> None:
    """Record the step; found recorded after a lost answer, it is our own: the attempt is."""
    tries = 0

    async def begin() -> None:
        nonlocal tries
        tries += 1
        await steps.begin_step(run, number, attempt, hosts)

    try:
        await patiently(begin)
    except Conflict:
        found = {step.number for step in await steps.steps(run)} if tries > 1 else set()
        if number not in found or await runs.cancelled(attempt):
            raise
