"""Claims due cases, advances them, saves them under the fence; answers clearances; sweeps.

Decides only when to do it. A case is in one pair of hands: the lease is renewed while a stage works, and a
stage whose lease was lost is cancelled. Waking and polling are both harmless to miss or to double.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from receiver.domain.case import Approved, Case
from receiver.domain.outcome import Role
from receiver.errors import Conflict, Refused, Retry
from receiver.pipeline import Ports, advance, clearance, event_of, role_of
from receiver.ports import Cases, Clearances, Event, Lease

log = structlog.get_logger()

#: a third of a lease, and never more than this: how soon a case is held longer
RENEW_SECONDS = 10.0
#: a database that does not answer is waited for so long: while it is away, nobody else is given our cases either
HOPE_SECONDS = 900.0
#: a bug in a stage must not spin: this long until the case is tried again
BROKEN_SECONDS = 60.0
#: why a worker ends itself at once: another process has its name, and nothing that it says is heard
LOST = frozenset({"seat_lost"})
#: why it takes nothing more and ends with what it has in hand: the database is another version's
DISMISSED = LOST | {"newer_database", "older_database"}


@dataclass
class Counts:
    """What this worker did, exported by the server from its heartbeat."""

    steps: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    waits: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Station:
    """Where a worker works."""

    sites: tuple[str, ...] = ()  #: none: every site that no other living executor names
    seat: int | None = None  #: the number under which it has its name; None: it is the only one


class Worker:
    """One process's hands: up to `concurrency` cases at once for its roles."""

    def __init__(  # noqa: PLR0913 - what is not given fits one machine
        self,
        ports: Ports,
        cases: Cases,
        clearances: Clearances,
        *,
        roles: Sequence[Role],
        name: str,
        station: Station | None = None,
        concurrency: int = 4,
        poll_seconds: float = 0.5,
        chores: Sequence[tuple[float, Callable[[], Awaitable[Any]]]] = (),
        under: Callable[[Ports, Lease], Ports] = lambda ports, lease: ports,
    ) -> None:
        self._ports, self._cases, self._clearances = ports, cases, clearances
        self._roles, self._name = tuple(roles), name
        self._station, self._under = station or Station(), under
        self._dismissed: Refused | None = None
        self._ends, self._lost = asyncio.Event(), asyncio.Event()  #: it was dismissed; at once
        self._unsure: list[Lease] = []  #: held, and not answered when they were to be held longer
        self._free = asyncio.Semaphore(concurrency)
        self._poll_seconds = poll_seconds
        self._chores = chores
        self._wake = asyncio.Event()
        self.counts = Counts()

    def wake(self) -> None:
        """Something may be due; looking in vain costs one query."""
        self._wake.set()

    async def run(self, stop: asyncio.Event, *, drain_seconds: float = 8.0) -> None:
        """Work until `stop`; then give running stages a moment, then cancel them.

        Raises `Refused` when this worker must end by itself. One that lost its name drains nothing; one whose database
        is another version's first finishes what it has in hand, however long that takes, unless `stop` comes.
        """
        hands: set[asyncio.Task[None]] = set()
        loops = [asyncio.create_task(self._every(seconds, chore)) for seconds, chore in self._chores]
        if Role.PLAN in self._roles:
            loops.append(asyncio.create_task(self._every(0.1, self._clear)))
        try:
            while await self._has_room(stop):
                lease = await self._next(stop)
                if lease is None:
                    self._free.release()
                    await self._rest(stop)
                    continue
                hand = asyncio.create_task(self._hold(lease))
                hands.add(hand)
                hand.add_done_callback(hands.discard)
        finally:
            await self._drain(hands, stop, drain_seconds)
            await _cancelled([*hands, *loops])
        if self._dismissed is not None:
            raise self._dismissed

    async def _has_room(self, stop: asyncio.Event) -> bool:
        """A hand is free; False when nothing more is taken, however busy all of them are."""
        if not self._free.locked() and not stop.is_set() and not self._ends.is_set():
            return await self._free.acquire()  # at once
        free, ends = asyncio.create_task(self._free.acquire()), (stop, self._ends)
        waits = [asyncio.create_task(event.wait()) for event in ends]
        await asyncio.wait([free, *waits], return_when=asyncio.FIRST_COMPLETED)
        await _cancelled([free, *waits])
        if not any(event.is_set() for event in ends):
            return True
        if not free.cancelled():
            self._free.release()
        return False

    async def _drain(self, hands: set[asyncio.Task[None]], stop: asyncio.Event, seconds: float) -> None:
        """What is in hand is finished, as long as anybody hears of it."""
        if self._dismissed is not None and hands:
            log.warning("worker.finishes", cases=len(hands), then=self._dismissed.message)
            waits = [asyncio.create_task(event.wait()) for event in (stop, self._lost)]
            finished = asyncio.create_task(asyncio.wait(set(hands)))
            await asyncio.wait([finished, *waits], return_when=asyncio.FIRST_COMPLETED)
            await _cancelled([finished, *waits])
        if hands and not self._lost.is_set():
            await asyncio.wait(hands, timeout=seconds)

    async def step(self) -> bool:
        """Advance one due case; False when nothing was due. For tests and single steps."""
        lease = await self._claim()
        if lease is None:
            return False
        await self._advance(lease)
        return True

    async def _next(self, stop: asyncio.Event) -> Lease | None:
        if stop.is_set() or self._ends.is_set():
            return None
        try:
            return await self._claim()
        except Retry as error:
            log.warning("worker.store_unavailable", error=error.message)
            await asyncio.sleep(1)
            return None

    async def _claim(self) -> Lease | None:
        """What came in since the last look is part of the choice."""
        for lease in self._unsure:  # before anybody takes it for given up, this worker least of all
            await self._cases.renew(lease)
        if Role.PLAN in self._roles:
            await self._cases.open_stored()
        return await self._cases.claim(self._roles, self._name, sites=self._station.sites, seat=self._station.seat)

    async def _rest(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._wake, self._ends)]
        await asyncio.wait(waits, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        await _cancelled(waits)
        self._wake.clear()

    async def _hold(self, lease: Lease) -> None:
        """Advance under a lease that is kept alive; a lost lease cancels the stage."""
        work = asyncio.create_task(self._advance(lease))
        # the database's clock alone decides whose the case is; this one only says when to stop hoping for an answer
        pause = min(RENEW_SECONDS, lease.seconds / 3)
        until = time.monotonic() + HOPE_SECONDS
        try:
            while not work.done():
                await asyncio.wait([work], timeout=pause)
                if work.done():
                    break
                is_ours = await self._renewed(lease)
                if is_ours:
                    until = time.monotonic() + HOPE_SECONDS
                elif is_ours is False or time.monotonic() > until:
                    log.error("worker.lease_lost", case=lease.case.id, kind=lease.case.kind)
                    work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            self._unsure = [one for one in self._unsure if one is not lease]
            if not work.done():
                await _cancelled([work])
            self._free.release()
            self.wake()  # what it made is probably due for us again

    async def _renewed(self, lease: Lease) -> bool | None:
        """Whether the case is still ours; None when the database does not answer."""
        self._unsure = [one for one in self._unsure if one is not lease]
        try:
            return await self._cases.renew(lease)
        except Retry:
            self._unsure.append(lease)
            return None

    async def _advance(self, lease: Lease) -> None:
        """One step, and whatever it ends in is written down."""
        case, begun = lease.case, time.perf_counter()
        with structlog.contextvars.bound_contextvars(case=case.id, run=_run(case)):
            try:
                following = await advance(case, self._under(self._ports, lease))
                events = [event_of(following)]
                await self._cases.save(lease, following, events, role=role_of(following))
                self._count(case, following, time.perf_counter() - begun)
            except Retry as error:
                await self._put_off(lease, error)
            except Conflict as error:
                # somebody was first; without the lease this changes nothing, else the case looks again at once
                log.warning("case.conflict", error=error.message)
                await self._put_off(lease, Retry(error.message, after_seconds=2))
            except Refused as error:
                await self._put_off(lease, Retry(error.message, after_seconds=BROKEN_SECONDS, tell=True))
            except Exception:
                self.counts.errors += 1
                log.exception("case.broken", kind=case.kind)
                await self._put_off(
                    lease,
                    Retry(f"a bug stopped {case.kind}: see the log", after_seconds=BROKEN_SECONDS, tell=True),
                )

    async def _put_off(self, lease: Lease, error: Retry) -> None:
        self.counts.waits += 1
        with contextlib.suppress(Retry):
            is_news = await self._cases.put_off(
                lease, at=error.at, after_seconds=error.after_seconds, why=error.message
            )
            if is_news:
                log.info("case.waiting", kind=lease.case.kind, why=error.message)
                if error.tell:
                    await self._ports.notifier.tell("a case needs you", error.message, lease.case.id)

    async def _clear(self) -> None:
        """Answer every executor that asks; one that cannot be answered waits for the next round."""
        for case in await self._clearances.wanted():
            if isinstance(case, Approved):
                with structlog.contextvars.bound_contextvars(case=case.id, run=case.runfile.run):
                    try:
                        answer = await clearance(case, self._ports)
                    except Refused as error:
                        log.warning("clearance.refused", error=error.message)
                        continue
                    await self._clearances.answer(case.runfile.run, answer)
                    log.info("clearance.answered", granted=answer.granted)

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[Any]]) -> None:
        speaks = False  # the one that dismissed it goes on: while it finishes, it shows that it lives
        while speaks or not self._ends.is_set():
            try:
                await chore()
            except Retry as error:
                log.warning("worker.chore_waits", error=error.message)
            except Refused as error:
                if error.reason in DISMISSED:
                    speaks = True
                    self._dismiss(error)
                else:
                    log.warning("worker.chore_refused", error=error.message)
            except Exception:
                self.counts.errors += 1
                log.exception("worker.chore_broken")
            await asyncio.sleep(seconds)

    def _dismiss(self, error: Refused) -> None:
        if self._dismissed is None or error.reason in LOST:
            log.error("worker.dismissed", error=error.message)
            self._dismissed = error
            self._ends.set()
            if error.reason in LOST:
                self._lost.set()

    def _count(self, before: Case, after: Case, seconds: float) -> None:
        steps, times = self.counts.steps, self.counts.stage_seconds
        steps[after.kind] = steps.get(after.kind, 0) + 1
        times[before.kind] = times.get(before.kind, 0.0) + seconds
        event: Event = event_of(after)
        if after.kind == "closed":
            self.counts.outcomes[after.outcome] = self.counts.outcomes.get(after.outcome, 0) + 1
        log.info(event.kind, said=event.text, seconds=round(seconds, 3))


def _run(case: Case) -> str | None:
    runfile = getattr(case, "runfile", None)
    return runfile.run if runfile else None


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
