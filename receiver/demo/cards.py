"""The four cards: what each breaks, and how it must end. `auto` plays them side by side, as the OS user who asked.

It approves through the same doors as a person, and only in a directory marked as a demo's, only for demo hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.demo.files import SITE
from receiver.demo.rig import Rig
from receiver.domain.case import Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import Refused
from receiver.starter import os_user

_CACHE_FILES, _CACHE_BYTES = 4, 10 << 20
_CARD_SECONDS = 120.0


@dataclass(frozen=True)
class Card:
    """One incident."""

    name: str
    title: str
    alert: str
    outcome: Outcome
    break_it: Callable[[Path], None]


def fill_cache(place: Path) -> None:
    """40 MB of real files."""
    for number in range(_CACHE_FILES):
        (place / "cache" / f"thumbnail-{number}").write_bytes(os.urandom(1 << 20) * (_CACHE_BYTES >> 20))


def kill_web(place: Path) -> None:
    """The service, not its supervisor."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((place / "web" / "web.pid").read_text()), signal.SIGKILL)


def begin_mystery(place: Path) -> None:
    """Something that no playbook handles."""
    (place / "mystery").touch()


def jam_queue(place: Path) -> None:
    """Something that the playbook for it does not mend."""
    (place / "queue" / "stuck").touch()


CARDS = (
    Card("cache", "Fill the demo cache", "DemoCacheFull", Outcome.FIXED, fill_cache),
    Card("web", "Kill the demo web service", "DemoWebDown", Outcome.FIXED, kill_web),
    Card("mystery", "An alert nobody can fix", "DemoMystery", Outcome.NOTIFIED, begin_mystery),
    Card("queue", "A fix that does not work", "DemoQueueStuck", Outcome.NOT_FIXED, jam_queue),
)


async def play_all(rig: Rig) -> list[dict[str, Any]]:
    """All four side by side; one result each, in their order."""
    return list(await asyncio.gather(*[play(rig, card) for card in CARDS]))


async def play(rig: Rig, card: Card) -> dict[str, Any]:
    """Break it, approve what is proposed, wait for the end."""
    if not rig.settings.demo:
        raise Refused(f"playing {card.name!r}: {rig.settings.data_dir} is not marked as a demo's", reason="not_demo")
    began = time.monotonic()
    await asyncio.to_thread(card.break_it, rig.place)
    case, outcome, is_approved = None, "no case", False
    while time.monotonic() - began < _CARD_SECONDS:
        case = case or await _case_of(rig, card)
        found = await rig.office.store.archive.stored(case) if case else None
        if isinstance(found, Proposed) and not is_approved:
            await approve(rig, found)
            is_approved = True
        if isinstance(found, Closed):
            outcome = str(found.outcome)
            break
        outcome = found.kind if found else outcome
        await asyncio.sleep(0.1)
    result = {"card": card.name, "case": case, "outcome": outcome, "seconds": round(time.monotonic() - began, 1)}
    return result | ({"simulated": True} if rig.simulated else {})


async def _case_of(rig: Rig, card: Card) -> str | None:
    page = await rig.office.store.archive.cases(limit=1, cursor=None, filters={"alertname": card.alert})
    return str(page.items[0]["id"]) if page.items else None


async def approve(rig: Rig, case: Proposed) -> None:
    """In the name of the OS user who started the demo, and for demo hosts only."""
    revision = await rig.office.repo.revision(case.revision)
    foreign = [name for name in case.runfile.targets if revision.inventory.hosts[name].site != SITE]
    if foreign:
        raise Refused(f"approving for the demo: {foreign[0]!r} is not one of its hosts", reason="not_demo")
    person = next(person for person in revision.policy.people if os_user() in person.os)
    await rig.office.doors.approve(case.id, head_sha=case.proposal.head_sha, person=person, via="terminal")
