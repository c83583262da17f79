"""What an attack is, and the checks that can be taken out one by one.

Decides that a check is a row of a table, by its name (`quorum`; `given.new` for one of a person's own pull request,
`guard.risk` for one of what may be proposed at all), or a named guard below. What is taken out is taken out everywhere
that asks it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import receiver.watch
import tests.attacks.stand
from receiver.adapters.forge.remote import RemoteForge
from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.repo.git import OpsRepository
from receiver.domain import given
from receiver.domain.approval import APPROVAL
from receiver.domain.case import Proposed
from receiver.domain.forge import PullRequest
from receiver.domain.outcome import Verdict
from receiver.domain.policy import GUARD
from receiver.domain.proof import Reading
from receiver.domain.revision import Pending
from receiver.errors import Retry
from receiver.stages import approve, clear, execute, guard
from receiver.testing.store import FakeRuns
from tests.attacks.stand import FORGES
from tests.contract.places import settings_of

Act = Callable[[Any], Awaitable[None]]
ELSEWHERE = FORGES[1:]
_ROWS = {row.name for row in APPROVAL}
_GIVEN = {f"given.{row.name}" for row in (*given.BEFORE, *given.AFTER)}
_GUARD = {f"guard.{row.name}" for row in GUARD}


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
    harm: str = "run"  #: what must not happen: `run`, `check` (a dry run), or `closed`
    says: str | None = None  #: how the case stands then, where that is not the name of a check

    def stops_on(self, forge: str) -> frozenset[str]:
        return self.more.get(forge, self.stops)


ATTACKS: list[Attack] = []


def attack(
    *stops: str, forges: Iterable[str] = ELSEWHERE, fair: int = 0, harm: str = "run", says: str | None = None,
    more: Mapping[str, Iterable[str]] | None = None, **setting: Any,
) -> Callable[[Act], Act]:  # fmt: skip
    """One line of the table; the docstring says what is done. `more`: where a forge has other checks."""

    def add(act: Act) -> Act:
        words = " ".join((act.__doc__ or "").split())
        others = {forge: frozenset(names) for forge, names in (more or {}).items()}
        name = getattr(act, "__name__", "")
        ATTACKS.append(Attack(name, words, act, tuple(forges), frozenset(stops), others, setting, fair, harm, says))
        return act

    return add


# --- what is no row


def _no_claim(patch: pytest.MonkeyPatch) -> None:
    """The claim of a run: a new ref on the forge, which only the first can make (rule S2)."""

    async def claim(self: OpsRepository, run: str, instance: str, nonce: str) -> bool:
        return True

    patch.setattr(OpsRepository, "claim", claim)


def _nothing_ends_it(patch: pytest.MonkeyPatch) -> None:
    """A pull request that was closed ends its case, and a case that ended is taken up by nothing."""

    async def closed(*_: Any) -> Any:
        raise Retry("closed: that means nothing")

    patch.setattr(approve, "_closed", closed)


def _anything_counts(patch: pytest.MonkeyPatch) -> None:
    """A change of what is in force takes the word of people who may approve the most, under the policy before it."""

    patch.setattr(receiver.watch, "missing", lambda vote: None)


def _any_bytes(patch: pytest.MonkeyPatch) -> None:
    """The base got exactly the content that the approved head showed."""

    async def as_reviewed(*_: Any) -> bool:
        return True

    patch.setattr(OpsRepository, "as_reviewed", as_reviewed)


def _without_a_pull_request(patch: pytest.MonkeyPatch) -> None:
    """A change of what is in force came by a merged pull request."""

    adopt = receiver.watch.Watch._adopt

    async def at_once(self: receiver.watch.Watch, adoption: Any, number: int | None, commits: list[Pending]) -> bool:
        if number is not None:
            return await adopt(self, adoption, number, commits)
        await self.desk.adopt(commits[-1].commit, old=None, digest="", actor="nobody")
        return True

    patch.setattr(receiver.watch.Watch, "_adopt", at_once)


def _forks_are_ours(patch: pytest.MonkeyPatch) -> None:
    """What lies in another repository is not read at all."""

    read = RemoteForge.read

    async def as_ours(self: RemoteForge, number: int) -> PullRequest:
        return (await read(self, number)).model_copy(update={"same_repository": True})

    patch.setattr(RemoteForge, "read", as_ours)


def _any_number(patch: pytest.MonkeyPatch) -> None:
    """The repository behind the path has the number that ours has."""

    def unnumbered(*args: Any, **more: Any) -> ForgeSettings:
        return settings_of(*args, **more).model_copy(update={"repository": ""})

    patch.setattr(tests.attacks.stand, "settings_of", unnumbered)


def _never_begun(patch: pytest.MonkeyPatch) -> None:
    """A run that was begun before is never begun again (rows of the database, and the row `unused`)."""

    attempt_of, begin_step = FakeRuns.attempt_of, FakeRuns.begin_step

    async def none(self: FakeRuns, run: str, mode: Any) -> Any:
        return None if mode == "run" else await attempt_of(self, run, mode)

    async def nowhere(self: FakeRuns, run: str) -> tuple[()]:
        return ()

    async def once_more(self: FakeRuns, run: str, number: int, attempt: str, hosts: Any) -> None:
        self.walked.pop(run, None)
        await begin_step(self, run, number, attempt, hosts)

    patch.setattr(FakeRuns, "attempt_of", none)
    patch.setattr(FakeRuns, "steps", nowhere)
    patch.setattr(FakeRuns, "begin_step", once_more)


def _silence_is_proof(patch: pytest.MonkeyPatch) -> None:
    """Only the expression of the alert itself, quiet for its whole hold, closes a proposal (rule S1)."""

    gone = approve._gone

    async def silent(case: Proposed, proof: Any) -> Reading | None:
        reading = await gone(case, proof)
        if reading is None or reading.verdict is not Verdict.NO_DATA:
            return reading
        return reading.model_copy(update={"verdict": Verdict.RESOLVED})

    patch.setattr(approve, "_gone", silent)


def _no_last_look(patch: pytest.MonkeyPatch) -> None:
    """The pause is read once more between the clearance and the claim."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(execute, "_last_look", nothing)


def _whoever_opened_it(patch: pytest.MonkeyPatch) -> None:
    """A pull request of our branch that somebody else opened is never taken for ours."""

    patch.setattr(RemoteForge, "_is_us", lambda self, account: True)


#: each says what the check is, and takes it out
GUARDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "claim": _no_claim,
    "closed": _nothing_ends_it,
    "adopt.counted": _anything_counts,
    "adopt.as_reviewed": _any_bytes,
    "adopt.merged": _without_a_pull_request,
    "same_repository": _forks_are_ours,
    "moved": _any_number,
    "begun": _never_begun,
    "opened_by_us": _whoever_opened_it,
    "last_look": _no_last_look,
    "proof": _silence_is_proof,
}


def take_out(patch: pytest.MonkeyPatch, names: Iterable[str]) -> None:
    """These checks are asked by nobody any more."""
    names = set(names)
    unknown = names - _ROWS - _GIVEN - _GUARD - set(GUARDS)
    assert not unknown, f"there is no check {sorted(unknown)}"
    for place, name in ((approve, "_AT_MERGE"), (execute, "_HERE"), (execute, "APPROVAL"), (clear, "APPROVAL")):
        patch.setattr(place, name, tuple(row for row in getattr(place, name) if row.name not in names))
    for name in ("BEFORE", "AFTER"):
        rows = getattr(receiver.watch, name)
        patch.setattr(receiver.watch, name, tuple(row for row in rows if f"given.{row.name}" not in names))
    patch.setattr(guard, "GUARD", tuple(row for row in guard.GUARD if f"guard.{row.name}" not in names))
    for name in sorted(names & set(GUARDS)):
        GUARDS[name](patch)


# --- as docs/security.md shows it


def line_of(one: Attack) -> str:
    """One row of the table."""
    names = sorted(one.stops.union(*(one.more.get(forge, one.stops) for forge in one.forges)))
    shown = []
    for name in names:
        where = [forge for forge in one.forges if name in one.stops_on(forge)]
        shown.append(f"`{name}`" + ("" if len(where) == len(one.forges) else f" ({', '.join(where)})"))
    forges = "all" if one.forges == FORGES else ", ".join(one.forges)
    return f"| `{one.name}` | {one.words} | {forges} | {', '.join(shown)} |"


def page() -> str:
    """The whole table, and what the checks are that are no rows."""
    lines = ["| attack | what is done | forges | each of these stops it |", "|---|---|---|---|"]
    lines += [line_of(one) for one in ATTACKS]
    lines += ["", "| check that is no row | what it holds |", "|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {act.__doc__} |" for name, act in GUARDS.items()])
