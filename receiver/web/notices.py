"""What every page says above its content: what is not in force yet, and where runs have no sandbox (rules S4, S9).

Looked up at most every few seconds, however many pages are shown.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from receiver.attendance import COMMAND, said
from receiver.domain.record import Record
from receiver.ports import Gate, Repo, Sites

_SECONDS = 5.0


class Notice(Record):
    """One sentence, and the command that answers it."""

    text: str
    command: str = ""


class Notices:
    """The notices of now."""

    def __init__(
        self,
        repo: Repo,
        waiting: Callable[[], Awaitable[int]],
        *,
        is_demo: bool = False,
        sites: Sites | None = None,
        unsettled: Callable[[], Awaitable[int]] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._unsettled, self._gate = unsettled, gate
        self._repo, self._waiting, self._is_demo, self._sites = repo, waiting, is_demo, sites
        self._known: tuple[Notice, ...] = ()
        self._looked_at = -_SECONDS

    async def all(self) -> tuple[Notice, ...]:
        """Those that hold now."""
        if time.monotonic() - self._looked_at >= _SECONDS:
            self._known = await self._look()
            self._looked_at = time.monotonic()
        return self._known

    async def _look(self) -> tuple[Notice, ...]:
        found = []
        paused = await self._gate.paused() if self._gate is not None else None
        if paused:
            found.append(Notice(text=f"{_sentence(paused)}. No run begins.", command="gitmedic resume"))
        unsettled = await self._unsettled() if self._unsettled is not None else 0
        if unsettled:
            noun = "run was" if unsettled == 1 else "runs were"
            found.append(Notice(text=f"{unsettled} {noun} interrupted: nobody knows what came of it. It needs you.",
                                command="gitmedic case list --outcome interrupted"))  # fmt: skip
        waiting = await self._waiting()
        if waiting:
            noun = "commit is" if waiting == 1 else "commits are"
            found.append(Notice(text=f"{waiting} {noun} not adopted yet: the revision before stays in force.",
                                command="gitmedic revision diff"))  # fmt: skip
        policy = (await self._repo.revision(await self._repo.adopted())).policy
        sites = ", ".join(policy.isolation_none_allowed)
        if sites and not self._is_demo:
            found.append(Notice(text=f"Runs at {sites} may have no sandbox: policy.yml allows isolation none there."))
        for outage in await self._sites.unserved() if self._sites is not None else ():
            found.append(Notice(text=f"{_sentence(said(outage))}.", command=COMMAND.format(outage.site)))
        return tuple(found)


def _sentence(text: str) -> str:
    """Its first letter large; names keep theirs."""
    return text[:1].upper() + text[1:].rstrip(".")
