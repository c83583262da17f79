"""The four cards: what each breaks, and how it must end. `auto` plays them side by side, as the OS user who asked.

It approves through the same doors as a person, and only in a directory marked as a demo's, only for demo hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.adapters.demo.cards import ASKS
from receiver.demo.files import SITE
from receiver.demo.rig import Rig
from receiver.domain.case import Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import Refused
from receiver.starter import os_user

_CACHE_FILES, _CACHE_BYTES = 4, 10 << 20
_CARD_SECONDS = 120.0
_ASK_SECONDS = 0.2


@dataclass(frozen=True)
class Card:
    """One incident."""

    name: str
    title: str
    story: str
    alert: str
    outcome: Outcome
    break_it: Callable[[Path], None]
    mend: Callable[[Path], None]  #: by hand, so that a card can be played again whatever became of it


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


def empty_cache(place: Path) -> None:
    """What the playbook would do."""
    for file in (place / "cache").iterdir():
        file.unlink(missing_ok=True)


def start_web(place: Path) -> None:
    """Ask the supervisor, as the playbook would; relative, since a socket's path must be short."""
    with socket.socket(socket.AF_UNIX) as control, contextlib.suppress(OSError):
        control.settimeout(10)
        control.connect(os.path.relpath(place / "web" / "control.sock"))
        control.sendall(b"POST /restart HTTP/1.0\r\n\r\n")
        control.recv(64)


def end_mystery(place: Path) -> None:
    """It was only a file."""
    (place / "mystery").unlink(missing_ok=True)


def clear_queue(place: Path) -> None:
    """What the playbook should have done."""
    (place / "queue" / "stuck").unlink(missing_ok=True)


CARDS = (
    Card(
        "cache", "Fill the demo cache", "Writes 40 MB of files. A playbook that empties the cache is proposed to you.",
        "DemoCacheFull", Outcome.FIXED, fill_cache, empty_cache,
    ),
    Card(
        "web", "Kill the demo web service", "Kills a running process. Its supervisor is asked to start it anew.",
        "DemoWebDown", Outcome.FIXED, kill_web, start_web,
    ),
    Card(
        "mystery", "An alert nobody can fix", "No playbook answers this one. See that nothing is done, and why.",
        "DemoMystery", Outcome.NOTIFIED, begin_mystery, end_mystery,
    ),
    Card(
        "queue", "A fix that does not work", "The run will end well, and the problem will stay. See what is said then.",
        "DemoQueueStuck", Outcome.NOT_FIXED, jam_queue, clear_queue,
    ),
)  # fmt: skip


def told() -> list[dict[str, str]]:
    """What the page shows of each card."""
    return [{"name": one.name, "title": one.title, "story": one.story, "alert": one.alert} for one in CARDS]


async def serve_asks(rig: Rig) -> None:
    """Break and mend what the demo's page asks for, until cancelled."""
    asks = rig.settings.data_dir / ASKS
    acts = {card.name: card.break_it for card in CARDS} | {f"{card.name}.mend": card.mend for card in CARDS}
    while True:
        for name, act in acts.items():
            if (asks / name).exists():
                await asyncio.to_thread(act, rig.place)
                (asks / name).unlink(missing_ok=True)
        await asyncio.sleep(_ASK_SECONDS)


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
