"""When not to act: one row per reason, asked before any playbook. The first that holds decides.

Decides from trusted facts and the alert's own state; the only untrusted words that count are a log's about failing
hardware, and they can only stop. A row says `none` (it passes, or is meant), `notify` (a person must act) or
`diagnose`. To add a reason, write its question and add one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from receiver.domain import phrases, wording
from receiver.domain.alert import BENIGN, Alert
from receiver.domain.condition import text_of
from receiver.domain.fact import Fact
from receiver.domain.record import Record

#: as often a fix may fail for one alert and entity within a day before a person is asked
MOST_FAILURES = 2
#: as often it must have passed by itself within a month, and never been fixed, to be left alone when not critical
USUAL = 5


class Scene(Record):
    """What the rows see."""

    alert: Alert
    facts: tuple[Fact, ...]
    playbooks: frozenset[str] = frozenset()  #: ids of the catalog

    @property
    def trusted(self) -> list[Fact]:
        """What was observed by code; not what the alert says of itself."""
        return [fact for fact in self.facts if fact.trusted and not fact.kind.startswith(("alert.label.", "unread"))]


class Held(Record):
    """Why nothing is proposed, and the facts that say so."""

    why: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Hold:
    """One row. `ask` gives None when it does not hold."""

    name: str
    question: str
    action: Literal["none", "notify", "diagnose"]
    ask: Callable[[Scene], Held | None]


def first_hold(scene: Scene) -> tuple[Hold, Held] | None:
    """The first row that holds."""
    for row in HOLDS:
        held = row.ask(scene)
        if held is not None:
            return row, held
    return None


def passes_alone(scene: Scene) -> bool:
    """Whether a row says that it passes by itself or is meant: then nothing has to be done."""
    found = first_hold(scene)
    return found is not None and found[0].action == "none"


def _telling(facts: Sequence[Fact], wanted: str, unless: str = "") -> tuple[Fact, ...]:
    """The facts with a clause that has the pattern, does not deny it, and has not the other one."""
    found = []
    for fact in facts:
        for clause in wording.clauses(text_of(fact)):
            if wording.says(clause, wanted) and not (unless and wording.has(clause, unless)):
                found.append(fact)
                break
    return tuple(found)


def _held(facts: tuple[Fact, ...], why: str) -> Held | None:
    return Held(why=f"{why} (facts {', '.join(fact.id for fact in facts)})", facts=facts) if facts else None


def is_heartbeat(scene: Scene) -> Held | None:
    """It fires on purpose, always."""
    told = _telling(scene.trusted, phrases.HEARTBEAT)
    if scene.alert.name in BENIGN or told:
        return Held(why="it fires on purpose, to prove that the chain works", facts=told)
    return None


def is_resolved(scene: Scene) -> Held | None:
    """It ended before anything was decided."""
    if scene.alert.status == "resolved":
        return Held(why="the alert is resolved already", facts=_telling(scene.trusted, phrases.WELL_NOW))
    told = _telling(scene.trusted, phrases.RECOVERED, unless=phrases.RECOVERED_BUT)
    return _held(told, "what was observed is well again")


def is_silenced(scene: Scene) -> Held | None:
    """Its source suppresses it."""
    told = tuple(fact for fact in scene.trusted if fact.kind == "alert.silenced" and fact.value is True)
    return _held(told, "somebody silenced it at its source")


def in_maintenance(scene: Scene) -> Held | None:
    """Somebody works on it, and said so."""
    if wording.has(scene.alert.name, phrases.WINDOW_WORK):
        return None
    told = _telling(scene.trusted, phrases.MAINTENANCE, unless=phrases.MAINTENANCE_BUT)
    return _held(told, "it is under maintenance, on purpose")


def on_purpose(scene: Scene) -> Held | None:
    """A person stopped it."""
    told = _telling(scene.trusted, phrases.PURPOSE, unless=phrases.PURPOSE_BUT)
    return _held(told, "a person stopped it on purpose")


def told_not_to(scene: Scene) -> Held | None:
    """Somebody asked to leave it as it is."""
    return _held(_telling(scene.trusted, phrases.TOLD_NOT_TO), "somebody asked to leave it as it is")


def failed_before(scene: Scene) -> Held | None:
    """The same fix did not help, and will not now."""
    counted = [fact for fact in scene.trusted if fact.kind == "history.failed" and _at_least(fact, MOST_FAILURES)]
    told = []
    for fact in scene.trusted:
        text = text_of(fact)
        of_past = wording.has(f"{fact.kind} {fact.source}", phrases.PAST)
        of_past = of_past or any(playbook in text for playbook in scene.playbooks)
        is_failure = wording.has(text, phrases.OFTEN) and wording.has(text, phrases.FAILURE)
        if of_past and is_failure and not wording.has(text, phrases.PASSES):
            told.append(fact)
    return _held((*counted, *told), "the same fix failed more than once: doing it again will not help")


def is_stale(scene: Scene) -> Held | None:
    """It speaks of what is no longer there."""
    told = _telling(scene.trusted, phrases.STALE, unless=phrases.STALE_BUT)
    return _held(told, "what it speaks of is not in service any more: its monitoring should change")


def is_hardware(scene: Scene) -> Held | None:
    """Something is broken that no software mends."""
    logs = [fact for fact in scene.facts if not fact.trusted and fact.kind == "log"]
    told = (*_telling(scene.trusted, phrases.HARDWARE), *_telling(logs, phrases.HARDWARE_LOGGED))
    return _held(told, "hardware is failing: it needs a person")


def needs_hands(scene: Scene) -> Held | None:
    """A cable, a spare, a visit."""
    return _held(_telling(scene.trusted, phrases.HANDS), "it needs hands")


def upstream_is_out(scene: Scene) -> Held | None:
    """The cause is at somebody else's."""
    told = _telling(scene.trusted, phrases.UPSTREAM, unless=phrases.UPSTREAM_BUT)
    return _held(told, "the cause is upstream and not ours to mend")


def power_is_out(scene: Scene) -> Held | None:
    """There is no mains power."""
    if _telling(scene.trusted, phrases.POWER_BACK):
        return None
    return _held(_telling(scene.trusted, phrases.POWER, unless=phrases.POWER_BUT), "the power is out")


def access_expired(scene: Scene) -> Held | None:
    """A key, token or login has to be renewed by a person."""
    told = _telling(scene.trusted, phrases.ACCESS)
    return _held(told, "a key, token or login expired: a person must renew it")


def quorum_lost(scene: Scene) -> Held | None:
    """A cluster without a majority is not touched."""
    return _held(_telling(scene.trusted, phrases.NO_QUORUM), "the cluster has no quorum")


def is_under_way(scene: Scene) -> Held | None:
    """A backup, a scrub or the like is running and will end."""
    if not wording.has(scene.alert.name, phrases.OWN_TASK):
        return None
    told = _telling(scene.trusted, phrases.AT_WORK)
    told = tuple(fact for fact in told if wording.has(text_of(fact), phrases.PROGRESS))
    return _held(told, "it is being worked on and ends by itself")


def load_is_expected(scene: Scene) -> Held | None:
    """A scheduled job, or what always passes by itself."""
    texts = [(fact, text_of(fact)) for fact in scene.trusted]
    past = [fact for fact, text in texts if wording.has(text, phrases.PASSES) and wording.has(text, phrases.REGULARLY)]
    past = [fact for fact in past if wording.says(_whole(fact), phrases.PASSES)]
    counted = [fact for fact in scene.trusted if fact.kind == "history.self_resolved" and _at_least(fact, USUAL)]
    if scene.alert.severity_rank == 0 or any(fact.kind == "history.fixed" for fact in scene.trusted):
        counted = []
    jobs = [
        fact for fact, text in texts if wording.says(_whole(fact), phrases.JOB) and wording.has(text, phrases.UNDER_WAY)
    ]
    is_load = wording.has(scene.alert.name, phrases.LOAD)
    if past or counted:
        return _held((*past, *counted, *(jobs if is_load else ())), "it passes by itself, as it did before")
    return _held(tuple(jobs), "a scheduled job makes this load, and ends by itself") if is_load else None


def _whole(fact: Fact) -> str:
    """A fact as one clause: a job's name and its progress stand in one bracket."""
    return "".join(" " if character in "();,\n" else character for character in text_of(fact))


def _at_least(fact: Fact, number: float) -> bool:
    return isinstance(fact.value, int | float) and fact.value >= number


HOLDS: tuple[Hold, ...] = (
    Hold("heartbeat", "Does it fire on purpose?", "none", is_heartbeat),
    Hold("resolved", "Is it over already?", "none", is_resolved),
    Hold("silenced", "Did somebody silence it?", "none", is_silenced),
    Hold("failed_before", "Did the same fix fail more than once?", "notify", failed_before),
    Hold("stale_target", "Is what it speaks of gone?", "notify", is_stale),
    Hold("power", "Is the power out?", "notify", power_is_out),
    Hold("upstream", "Is the cause at somebody else's?", "notify", upstream_is_out),
    Hold("maintenance", "Is it under maintenance?", "none", in_maintenance),
    Hold("on_purpose", "Did a person stop it?", "none", on_purpose),
    Hold("told_not_to", "Did somebody ask to leave it alone?", "notify", told_not_to),
    Hold("hardware", "Is hardware failing?", "notify", is_hardware),
    Hold("hands", "Does it need hands?", "notify", needs_hands),
    Hold("access", "Did a key, token or login expire?", "notify", access_expired),
    Hold("quorum", "Has the cluster no majority?", "notify", quorum_lost),
    Hold("under_way", "Does a task of its own still run?", "none", is_under_way),
    Hold("expected", "Does it pass by itself?", "none", load_is_expected),
)
