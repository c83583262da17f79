"""What the web is given; it reaches for nothing else."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from receiver.aftermath import Aftermath
from receiver.agenda import Agenda
from receiver.domain.finding import Finding
from receiver.domain.revision import Revision
from receiver.doors import Doors
from receiver.ports import Access, Archive, Deliveries, Logs, Pulse, Receipt, Repo, Timetables
from receiver.web.hooks.commit import GroupCommit
from receiver.web.notices import Notices


def trace_of(error: BaseException) -> str:
    """A traceback for the log without the values of variables: they hold secrets, and take seconds to print."""
    return "".join(traceback.format_exception(error))[-8000:]


class Playground(Protocol):
    """The demo's things, which its page may break."""

    async def cards(self) -> list[dict[str, Any]]:
        """Each card: name, title, story, alert, expression, its value now, and whether it is broken."""

    async def break_it(self, name: str) -> bool:
        """Ask for one of them to be broken; False when there is no such card."""

    async def mend(self, name: str) -> bool:
        """Ask for it to be mended by hand."""


class Roster(Protocol):
    """The hosts of the inventory; changes of it are proposals."""

    async def listed(self) -> list[dict[str, Any]]:
        """Those in force."""

    async def add(self, name: str, said: Mapping[str, Any], *, actor: str) -> dict[str, Any]:
        """Propose a new one."""

    async def remove(self, name: str) -> dict[str, Any]:
        """The patch that takes one out."""


@dataclass(frozen=True)
class Hooked:
    """A repository on a forge, whose webhooks are listened to."""

    kind: str  #: github, gitea or gitlab
    repository: str  #: the forge's own number
    key: str  #: our name for it: two forges may have the same number
    secret: Callable[[], str]  #: empty: none is set, and everything is refused
    deliveries: Deliveries
    counted: Callable[[str], None]  #: told what became of each


@dataclass(frozen=True)
class Parts:
    """Ports and small functions, put together by the wiring."""

    commit: GroupCommit
    access: Access
    archive: Archive
    logs: Logs
    doors: Doors
    agenda: Agenda
    timetables: Timetables
    aftermath: Aftermath
    repo: Repo
    notices: Notices
    pulse: Pulse
    ready: Callable[[], Awaitable[None]]
    metrics: Callable[[], Awaitable[bytes]]
    counted: Callable[[int, Receipt | None, float], None]
    sources: tuple[str, ...]
    locks: Callable[[], Awaitable[list[dict[str, Any]]]]
    queue: Callable[[], Awaitable[list[dict[str, Any]]]]  #: who waits for locks, in order
    checks: Callable[[], Awaitable[list[Finding]]]
    settings: Callable[[], list[dict[str, Any]]]  #: every setting with its value and where it comes from, no secret
    #: payload and source → what would be decided about each alert; touches nothing
    preview: Callable[[bytes, str], Awaitable[list[dict[str, Any]]]] | None = None
    url: str = "http://127.0.0.1:8090"  #: as people reach this server
    repository: str = ""  #: where the ops repository lies
    playground: Playground | None = None
    roster: Roster | None = None
    new_token: Callable[[str, str], Awaitable[str]] | None = None  #: name and actor → secret of an alerts:write token
    hooked: tuple[Hooked, ...] = ()  #: none: no forge elsewhere
    hosts: tuple[str, ...] = ()
    version: str = "0.1.0"
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def revision(self) -> Revision:
        """What is in force now."""
        return await self.repo.revision(await self.repo.adopted())
