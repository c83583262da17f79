"""Plays one cell of the table: this victim dies at this point, others take over, and what came of it is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass

import httpx
import psycopg

from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.domain.case import Case, Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import GitmedicError
from receiver.ports import Post
from receiver.starter import os_user
from tests.kills.points import POINTS, Point, Victim
from tests.kills.stand import LEASE_SECONDS, LONG_LEASE_SECONDS, SOURCE, Forks, Stand, stand

#: of one cell, on a machine that does much else
SECONDS = 300.0
ROLES = ("plan", "execute")


@dataclass(frozen=True)
class Row:
    """What came of one cell."""

    point: str
    victim: Victim
    outcome: Outcome | None
    lines: int  #: how often the target was changed
    problems: tuple[str, ...] = ()  #: lost, twice, without an owner, orphans, locks held by nobody


async def play(postgres: EmbeddedPostgres, forks: Forks, name: str, victim: Victim, seed: int) -> Row:
    """One cell; raises when it does not come to an end."""
    point, lease = POINTS[name], LONG_LEASE_SECONDS if victim == "postgres" else LEASE_SECONDS
    async with (
        stand(postgres, forks, f"{name} {victim} {seed}", gated=bool(point.gate), lease=lease) as here,
        asyncio.timeout(SECONDS),
    ):
        if point.gate == "check":
            here.close_gate()
        if point.role == "serve" or victim == "serve":
            here.start("serve", point.name if point.role == "serve" else "")
        for role in ROLES:
            here.start(role, point.name if point.role == role and not point.gate else "")
        sending = asyncio.create_task(_send_and_approve(here, point))
        try:
            await _kill_at(here, point, victim)
            case = await _closed(here)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        await here.end()
        problems = [*await _rows_left(here), *_left_behind(here), *_wrong_end(point, victim, case, here.lines())]
        return Row(name, victim, case.outcome, here.lines(), tuple(problems))


async def _kill_at(here: Stand, point: Point, victim: Victim) -> None:
    """Exactly there, a few milliseconds later; then others take over, in any order."""
    gate = await here.at_gate() if point.gate else None
    if gate is None:
        await here.reached()
    await asyncio.sleep(here.dice.uniform(0, 0.05))
    dead = [role for role in here.living if victim in (role, "all")]
    for role in dead:
        here.kill(role)
    if victim == "child":
        while not (children := here.children()):  # forked, and not itself yet
            await asyncio.sleep(0.005)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if victim in ("postgres", "all"):
        await here.restart_postgres()
    if "execute" in dead and here.dice.random() < 0.5:
        dead.append("execute")  # two of them want it
    here.dice.shuffle(dead)
    for role in dead:
        here.start(role)
    if gate is not None:
        here.open_gate()
        os.close(gate)
    here.go()


async def _send_and_approve(here: Stand, point: Point) -> None:
    """What the world outside does: it sends until it is heard, and a person approves until it is done."""
    body = here.alert()
    by_hook = point.role == "serve"
    if by_hook:
        token = await here.office.store.access.create_token("test", "alerts:write", source=SOURCE, created_by="os:test")
        await _until_answered(here, f"/alertmanager/{SOURCE}", {"Authorization": f"Bearer {token}"}, body)
    else:
        await here.office.store.inbox.store([Post(source=SOURCE, body=body)])
    case = await _proposed(here)
    if case is None:
        return
    if point.gate == "run":
        here.close_gate()
    if by_hook:
        entered = await here.office.store.access.enter(await here.office.store.access.create_setup_link(os_user()))
        assert entered is not None
        headers = {"Cookie": f"gitmedic_session={entered[0]}", "Origin": here.settings.web.local_url}
        said = f'{{"head_sha": "{case.proposal.head_sha}"}}'.encode()
        await _until_answered(here, f"/api/cases/{case.id}/approve", headers, said)
        return
    while True:  # the database may be away just now
        with contextlib.suppress(GitmedicError, psycopg.Error):
            person = (await here.office.doors.policy()).people[0]
            await here.office.doors.approve(case.id, head_sha=case.proposal.head_sha, person=person, via="terminal")
            return
        await asyncio.sleep(0.05)


async def _until_answered(here: Stand, path: str, headers: dict[str, str], body: bytes) -> None:
    """As Alertmanager does it: again after each 5xx and each broken connection; a 4xx is a mistake of this test."""
    headers = headers | {"Content-Type": "application/json"}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post(f"{here.settings.web.local_url}{path}", content=body, headers=headers)
                if answer.status_code == 409 and "merged already" in answer.text:
                    return
                assert answer.status_code == 200 or answer.status_code >= 500, answer.text
                if answer.status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def _case(here: Stand) -> Case | None:
    with contextlib.suppress(GitmedicError, psycopg.Error):
        page = await here.office.store.archive.cases(limit=5, cursor=None, filters={})
        return await here.office.store.archive.stored(page.items[-1]["id"]) if page.items else None
    return None


async def _proposed(here: Stand) -> Proposed | None:
    """None: it ended before."""
    while True:
        case = await _case(here)
        if isinstance(case, Proposed):
            return case
        if isinstance(case, Closed):
            return None
        await asyncio.sleep(0.02)


async def _closed(here: Stand) -> Closed:
    while True:
        case = await _case(here)
        if isinstance(case, Closed):
            return case
        await asyncio.sleep(0.02)


_LEFT = {
    "lost: an alert without a case": "SELECT count(*) FROM alerts WHERE case_id IS NULL AND why IS NULL",
    "lost: not exactly one alert": "SELECT abs(count(*) - 1) FROM alerts",
    "twice: more than one case": "SELECT count(*) - 1 FROM cases",
    "twice: more than one beginning": "SELECT greatest(count(*) - 1, 0) FROM attempts WHERE mode = 'run'",
    "twice: more than one proposal": "SELECT greatest(count(*) - 1, 0) FROM pull_requests",
    "without an owner: a case is held": "SELECT count(*) FROM cases WHERE lease_until IS NOT NULL OR is_open",
    "without an owner: an attempt without end": "SELECT count(*) FROM attempts WHERE ended_at IS NULL",
    "without an owner: a clearance": "SELECT count(*) FROM clearances",
    "held by nobody: locks": "SELECT count(*) FROM locks",
    "held by nobody: a proposal's slot": "SELECT count(*) FROM proposal_slots WHERE freed_at IS NULL",
    "without an owner: an open proposal": "SELECT count(*) FROM pull_requests WHERE state = 'open'",
}


async def _rows_left(here: Stand) -> list[str]:
    found = []
    async with here.office.store.pool.connection() as connection:
        for what, query in _LEFT.items():
            row = await (await connection.execute(query.encode())).fetchone()
            if row is None or row[0] != 0:
                found.append(f"{what} ({row})")
    return found


def _left_behind(here: Stand) -> list[str]:
    """After all processes have ended."""
    found = [f"orphan: process {pid}" for pid in here.processes()]
    scratch = here.settings.data_dir / "scratch"
    return found + [f"left behind: {one.name}" for one in (scratch.iterdir() if scratch.exists() else ())]


def _wrong_end(point: Point, victim: Victim, case: Closed, lines: int) -> list[str]:
    found = []
    if case.outcome not in point.allowed(victim):
        found.append(f"ended {case.outcome} ({case.reason}): {case.why}")
    if lines > 1:
        found.append(f"twice: the target was changed {lines} times")
    if case.outcome is Outcome.FIXED and lines != 1:
        found.append("lost: it says fixed, and nothing was changed")
    if case.outcome is Outcome.INTERRUPTED and not any(words in case.why for words in ("not known", "executor died")):
        found.append(f"it does not say what is not known: {case.why}")
    return found
