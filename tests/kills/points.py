"""The named points of the way of a case, where each is, who may die there, and how it may end then.

A point is before or after a method of the real wiring (`module:Class.method`), or a task of the run itself: there the
playbook waits at a gate, a named pipe that the test holds. FIXED is the rule. INTERRUPTED (outcome unknown, for a
person) is allowed only where a run may have begun and nobody can know how it ended; nothing ever runs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from receiver.domain.outcome import Outcome

Victim = Literal["serve", "plan", "execute", "child", "postgres", "all"]
When = Callable[[Mapping[str, Any], Any], bool]

STORE = "receiver.adapters.store"
CASES, RUNS = f"{STORE}.cases:PostgresCases", f"{STORE}.runs:PostgresRuns"
INBOX, LEDGER, LOCKS = f"{STORE}.inbox:PostgresInbox", f"{STORE}.ledger:PostgresLedger", f"{STORE}.locks:PostgresLocks"
MEMORY, FORGE = f"{STORE}.memory:PostgresMemory", "receiver.adapters.forge.local:LocalForge"
REPO, SOURCES = "receiver.adapters.repo.git:OpsRepository", "receiver.adapters.proof.sources:Sources"
RUNNER = "receiver.adapters.runner.ansible"

FIXED = frozenset({Outcome.FIXED})
UNKNOWN = frozenset({Outcome.INTERRUPTED})
EITHER = FIXED | UNKNOWN


def _always(arguments: Mapping[str, Any], result: object) -> bool:
    return True


@dataclass(frozen=True)
class Stop:
    """Where a process stops: before or after a method, at the chosen hit of those that are meant."""

    where: str
    after: bool = False
    when: When = _always
    hit: int = 1


@dataclass(frozen=True)
class Point:
    """One point: whose process stands there, who dies, how it may end by victim."""

    name: str
    role: Literal["serve", "plan", "execute"]
    stop: Stop
    victims: tuple[Victim, ...]
    ends: Mapping[str, frozenset[Outcome]]
    #: the run waits in a task of its own: while it rehearses, or after it changed its target
    gate: Literal["", "check", "run"] = ""

    def allowed(self, victim: Victim) -> frozenset[Outcome]:
        """How a case may end when this one dies here."""
        return self.ends.get(victim, FIXED)


def _case(kind: str) -> When:
    return lambda given, result: given["case"].kind == kind


def _mode(mode: str) -> When:
    return lambda given, result: given["mode"] == mode


def _job(mode: str) -> When:
    return lambda given, result: given["job"].mode == mode


def _is_new(given: Mapping[str, Any], result: Any) -> bool:
    return result is not None and result.case.kind == "received"


def _has_stats(given: Mapping[str, Any], result: object) -> bool:
    return any(event.kind == "stats" for event in given["events"])


def _is_true(given: Mapping[str, Any], result: Any) -> bool:
    return bool(result)


def _is_none(given: Mapping[str, Any], result: Any) -> bool:
    return result is None


def _point(
    name: str,
    role: Literal["serve", "plan", "execute"],
    where: str,
    *,
    after: bool = False,
    when: When = _always,
    hit: int = 1,
    more: tuple[Victim, ...] = ("postgres",),
    ends: Mapping[str, frozenset[Outcome]] | None = None,
    gate: Literal["", "check", "run"] = "",
) -> Point:
    return Point(name, role, Stop(where, after, when, hit), (role, *more), ends or {}, gate)


#: a run that was claimed or begun, and whose executor is gone: what it did is not known
_LOST = {"execute": UNKNOWN, "all": UNKNOWN}
_FAILED = {"child": frozenset({Outcome.FAILED})}
_ALL = (
    _point("alert read, not stored", "serve", f"{INBOX}.store"),
    _point("alert stored, not answered", "serve", f"{INBOX}.store", after=True),
    _point("case opened", "plan", f"{CASES}.open_stored", after=True, when=_is_true),
    _point("case claimed", "plan", f"{CASES}.claim", after=True, when=_is_new),
    _point("triaged, not saved", "plan", f"{CASES}.save", when=_case("triaged")),
    _point("triaged", "plan", f"{CASES}.save", after=True, when=_case("triaged")),
    _point("investigated, not saved", "plan", f"{CASES}.save", when=_case("investigated")),
    _point("planned, not saved", "plan", f"{CASES}.save", when=_case("planned")),
    _point("planned", "plan", f"{CASES}.save", after=True, when=_case("planned")),
    _point("slot taken", "plan", f"{LEDGER}.take_slot", after=True, when=_is_none, more=("postgres", "all")),
    _point("vetted, not saved", "plan", f"{CASES}.save", when=_case("vetted")),
    _point("rehearsal begun, no process", "execute", f"{RUNS}.begin", after=True, when=_mode("check")),
    _point(
        "rehearsal running", "execute", "", gate="check", more=("postgres", "child", "plan", "all"),
        ends={"child": frozenset({Outcome.REHEARSAL_FAILED})},
    ),
    _point("rehearsal ended, not recorded", "execute", f"{RUNS}.finish"),
    _point("rehearsal recorded", "execute", f"{RUNS}.finish", after=True),
    _point("rehearsed, not saved", "execute", f"{CASES}.save", when=_case("rehearsed")),
    _point("branch pushed, no pull request", "plan", f"{REPO}.propose", after=True),
    _point("pull request opened", "plan", f"{FORGE}.open", after=True, more=("postgres", "all")),
    _point("proposed, not saved", "plan", f"{CASES}.save", when=_case("proposed")),
    _point("approval asked for, not recorded", "serve", f"{FORGE}.approve_and_merge"),
    _point("approval recorded, not merged", "serve", f"{REPO}.land"),
    _point("merged, not recorded", "serve", f"{REPO}.land", after=True),
    _point("merged, not answered", "serve", f"{FORGE}.approve_and_merge", after=True),
    _point("merge believed, not saved", "plan", f"{CASES}.save", when=_case("approved")),
    _point("locks taken", "execute", f"{LOCKS}.take", after=True, when=_is_none, more=("postgres", "all")),
    _point("clearance asked", "execute", f"{RUNS}.ask_clearance", after=True, when=_is_none),
    _point("clearance decided, not written", "plan", f"{RUNS}.answer"),
    _point("clearance written", "plan", f"{RUNS}.answer", after=True),
    _point("clearance read", "execute", f"{RUNS}.drop_clearance", after=True),
    _point("own checks done, not claimed", "execute", f"{REPO}.claim", more=("postgres", "plan")),
    _point(
        "claimed, not begun", "execute", f"{REPO}.claim", after=True, when=_is_true, more=("postgres", "all"),
        ends=_LOST | {"postgres": EITHER},
    ),
    _point(
        "begun, no process", "execute", f"{RUNS}.begin", after=True, when=_mode("run"), more=("postgres",),
        ends=_LOST | {"postgres": FIXED},
    ),
    _point("step begun, no process", "execute", f"{RUNS}.begin_step", after=True, ends=_LOST),
    _point(
        "process started", "execute", "asyncio:create_subprocess_exec", after=True,
        when=lambda given, result: any("adapters.runner.child" in str(one) for one in given["args"]), hit=2,
        more=("postgres", "child"), ends=_LOST | _FAILED,
    ),
    _point(
        "target changed, run goes on", "execute", "", gate="run", more=("postgres", "child", "plan", "serve", "all"),
        ends=_LOST | _FAILED,
    ),
    _point("last event read, not stored", "execute", f"{RUNS}.record", when=_has_stats, hit=2, ends=_LOST),
    _point("step ended, not recorded", "execute", f"{RUNS}.end_step", ends=_LOST),
    # from here on its steps tell how it ended
    _point("step recorded, run goes on", "execute", f"{RUNS}.end_step", after=True),
    _point("run ended, not recorded", "execute", f"{RUNS}.finish", hit=2, more=("postgres", "all")),
    _point("end recorded, locks held", "execute", f"{RUNS}.finish", after=True, hit=2, more=("postgres", "all")),
    _point("locks given back", "execute", f"{LOCKS}.free", after=True),
    _point("executed, not saved", "execute", f"{CASES}.save", when=_case("executed")),
    _point("executed", "execute", f"{CASES}.save", after=True, when=_case("executed")),
    _point("verifying", "plan", f"{SOURCES}.read", when=lambda given, result: given.get("held_seconds", 0) > 0),
    _point("verified, not saved", "plan", f"{CASES}.save", when=_case("verified")),
    _point("outcome kept", "plan", f"{LEDGER}.learn", after=True),
    _point("remembered, not said", "plan", f"{MEMORY}.remember", after=True),
    _point("outcome said on the pull request", "plan", f"{FORGE}.comment", after=True),
    _point("closed, not saved", "plan", f"{CASES}.save", when=_case("closed"), more=("postgres", "all")),
)  # fmt: skip
POINTS: dict[str, Point] = {point.name: point for point in _ALL}
CELLS: tuple[tuple[str, Victim], ...] = tuple((point.name, victim) for point in _ALL for victim in point.victims)


def _chosen() -> tuple[tuple[str, Victim], ...]:
    """Each point once, its victims in turn; where a run may be lost, its executor; at a gate, everybody."""
    found: list[tuple[str, Victim]] = []
    for number, point in enumerate(_ALL):
        if point.gate:
            found += [(point.name, victim) for victim in point.victims]
        else:
            turn = 0 if "execute" in point.ends else number % len(point.victims)
            found.append((point.name, point.victims[turn]))
    return tuple(found)


#: for every day: one seed of these
CHOSEN = _chosen()
