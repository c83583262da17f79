"""What an attack is, and the checks that can be taken out one by one.

Decides that a check is a row of a table, by its name (`quorum`; `given.new` for one of a person's own pull request), or
a named guard below. What is taken out is taken out everywhere that asks it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import receiver.watch
from receiver.adapters.repo.git import OpsRepository
from receiver.domain import given
from receiver.domain.approval import APPROVAL
from receiver.domain.revision import Pending
from receiver.errors import Retry
from receiver.stages import approve, clear, execute
from tests.attacks.stand import FORGES, Stand

Act = Callable[[Any], Awaitable[None]]
ELSEWHERE = FORGES[1:]
_ROWS = {row.name for row in APPROVAL}
_GIVEN = {f"given.{row.name}" for row in (*given.BEFORE, *given.AFTER)}


@dataclass(frozen=True)
class Attack:
    """Something that must not run, and what stops it."""

    name: str
    words: str  #: what is done
    act: Act
    forges: tuple[str, ...]
    stops: frozenset[str]  #: names of checks; each alone is enough
    more: Mapping[str, frozenset[str]] = field(default_factory=dict)  #: forge → others there
    setting: Mapping[str, Any] = field(default_factory=dict)  #: of what is in force
    fair: int = 0  #: so many runs are right

    def stops_on(self, forge: str) -> frozenset[str]:
        return self.more.get(forge, self.stops)


ATTACKS: list[Attack] = []


def attack(
    *stops: str, forges: Iterable[str] = ELSEWHERE, fair: int = 0,
    more: Mapping[str, Iterable[str]] | None = None, **setting: Any,
) -> Callable[[Act], Act]:  # fmt: skip
    """One line of the table; the docstring says what is done. `more`: where a forge has other checks."""

    def add(act: Act) -> Act:
        words = " ".join((act.__doc__ or "").split())
        others = {forge: frozenset(names) for forge, names in (more or {}).items()}
        ATTACKS.append(
            Attack(act.__name__, words, act, tuple(forges), frozenset(stops), others, setting, fair)  # type: ignore[attr-defined]
        )
        return act

    return add


# --- what is no row


def _no_claim(patch: pytest.MonkeyPatch) -> None:
    async def claim(self: OpsRepository, run: str, instance: str, nonce: str) -> bool:
        return True

    patch.setattr(OpsRepository, "claim", claim)


def _nothing_ends_it(patch: pytest.MonkeyPatch) -> None:
    async def closed(*_: Any) -> Any:
        raise Retry("closed: that means nothing")

    patch.setattr(approve, "_closed", closed)


def _anything_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(receiver.watch, "missing", lambda vote: None)


def _any_bytes(patch: pytest.MonkeyPatch) -> None:
    async def as_reviewed(*_: Any) -> bool:
        return True

    patch.setattr(OpsRepository, "as_reviewed", as_reviewed)


def _without_a_pull_request(patch: pytest.MonkeyPatch) -> None:
    adopt = receiver.watch.Watch._adopt

    async def at_once(self: receiver.watch.Watch, number: int | None, commits: list[Pending]) -> bool:
        if number is not None:
            return await adopt(self, number, commits)
        await self.desk.adopt(commits[-1].commit, old=None, digest="", actor="nobody")
        return True

    patch.setattr(receiver.watch.Watch, "_adopt", at_once)


GUARDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "claim": _no_claim,
    "closed": _nothing_ends_it,
    "adopt.counted": _anything_counts,
    "adopt.as_reviewed": _any_bytes,
    "adopt.merged": _without_a_pull_request,
}


def take_out(patch: pytest.MonkeyPatch, names: Iterable[str]) -> None:
    """These checks are asked by nobody any more."""
    names = set(names)
    unknown = names - _ROWS - _GIVEN - set(GUARDS)
    assert not unknown, f"there is no check {sorted(unknown)}"
    for place, name in ((approve, "_AT_MERGE"), (execute, "_HERE"), (execute, "APPROVAL"), (clear, "APPROVAL")):
        patch.setattr(place, name, tuple(row for row in getattr(place, name) if row.name not in names))
    for name in ("BEFORE", "AFTER"):
        rows = getattr(receiver.watch, name)
        patch.setattr(receiver.watch, name, tuple(row for row in rows if f"given.{row.name}" not in names))
    for name in sorted(names & set(GUARDS)):
        GUARDS[name](patch)


__all__ = ["ATTACKS", "ELSEWHERE", "FORGES", "Attack", "Stand", "attack", "take_out"]
