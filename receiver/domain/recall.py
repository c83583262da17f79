"""What a closed case leaves, what an alert asks for, and how several lists of what is near become one.

Decides what may be remembered: the alert's name (cleaned), the inventory's names, the playbook's id, the names of its
parameters and the kinds of what they were bound to, and how it ended. Refuses everything else that came from
outside: no other label, no annotation, no line of a log, no word of a model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from receiver.domain.alert import Alert
from receiver.domain.case import Closed
from receiver.domain.entity import Entity
from receiver.domain.outcome import Outcome
from receiver.domain.record import Record

#: so many are recalled
MOST = 5
#: ends that a verification stands behind; only these are recalled
VERIFIED = frozenset({Outcome.FIXED, Outcome.NOT_FIXED})
#: of an alert's name, and of an operator's note
MAX_NAME, MAX_NOTE = 80, 1000
#: of reciprocal rank fusion; 60 is the value of its authors
_RRF = 60
_IN_NAMES = "_-.:/ "
_PIECES = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+")
_SHORTEST = 3
_MOST_WORDS = 64


class Remembered(Record):
    """One closed case as it is kept: structured fields, and the line that is made of them."""

    id: str  #: the case's own
    text: str
    head: str  #: words of the alert's name, which weigh most
    body: str  #: words of the rest
    alertname: str
    entity_kind: str
    entity: str
    site: str
    playbook: str | None
    outcome: str
    verdict: str | None
    seconds: float | None  #: from its opening to the end of its run; None: nothing ran
    params: tuple[str, ...]  #: `name` or `name=kind of fact`, never a value


class Near(Record):
    """One entry of a list, nearest first."""

    id: str
    kind: str
    outcome: str | None = None


def remembered(case: Closed) -> Remembered:
    """What is kept of a closed case."""
    name = name_of(case.alert)
    entity, plan = case.entity, case.plan
    playbook = plan.playbook if plan else None
    params = _params(case)
    seconds = (case.result.ended_at - case.opened_at).total_seconds() if case.result else None
    about = f"{entity.kind} {entity.name} (site {entity.site})" if entity else "nothing in the inventory"
    bound = f" with {', '.join(params)}" if params else ""
    did = f"{playbook}{bound}" if playbook else "no playbook"
    took = f" after {seconds:.0f} s" if seconds is not None else ""
    head = " ".join(words(name))
    # not the kind of the entity and of parameters: `host` is a word of many an alert's name, and would be in every row
    rest = [*words(playbook or ""), *words(str(case.outcome))]
    return Remembered(
        id=case.id, alertname=name, head=head, body=" ".join([head, *_of_entity(entity), *rest]),
        text=f"{name or 'no alert'} on {about}: {did}, {str(case.outcome).replace('_', ' ')}{took}",
        entity_kind=entity.kind if entity else "", entity=entity.name if entity else "",
        site=entity.site if entity else "", playbook=playbook, outcome=str(case.outcome),
        verdict=str(case.verification.verdict) if case.verification else None, seconds=seconds, params=params,
    )  # fmt: skip


def is_verified(outcome: str) -> bool:
    """Whether a case that ended so is worth recalling."""
    return outcome in VERIFIED


def name_of(alert: Alert | None) -> str:
    """The alert's name, as far as it looks like one: letters, digits and a few signs, at most 80."""
    return clean_name(alert.name) if alert else ""


def clean_name(text: str) -> str:
    """The same of any text."""
    kept = "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum() or c in _IN_NAMES)
    return " ".join(kept.split())[:MAX_NAME].strip()


def asked(alert: Alert, entity: Entity | None) -> tuple[str, ...]:
    """Words to look for, of three and more of a-z and 0-9: of the alert's name, and the entity's whole name."""
    found = words(name_of(alert)) + ([_whole(entity.name)] if entity else [])
    return searchable(found)


def searchable(found: Iterable[str]) -> tuple[str, ...]:
    """Those long enough to mean something, each once."""
    return tuple(dict.fromkeys(word for word in found if len(word) >= _SHORTEST))[:_MOST_WORDS]


def words(text: str) -> list[str]:
    """`HostDiskFull` → hostdiskfull, host, disk, full; nothing but a-z and 0-9 is left."""
    found: list[str] = []
    for part in _parts(text):
        pieces = _pieces(part)
        found += pieces if pieces == [part.lower()] else [part.lower(), *pieces]
    return found[: 4 * _MOST_WORDS]


def spoken(name: str, playbook: str | None = None) -> str:
    """The same for an embedder: `HostDiskFull` → host disk full. No host's name is told to it."""
    parts, helped = ([piece for part in _parts(text) for piece in _pieces(part)] for text in (name, playbook or ""))
    return " ".join(parts) + (f". {' '.join(helped)}" if helped else "")


def fused(lists: Sequence[tuple[float, Sequence[Near]]]) -> list[tuple[Near, float]]:
    """Reciprocal rank fusion of weighted lists, best first; only the order within a list counts."""
    scores: dict[str, float] = {}
    known: dict[str, Near] = {}
    for weight, near in lists:
        for rank, one in enumerate({one.id: one for one in near}.values(), 1):
            known.setdefault(one.id, one)
            scores[one.id] = scores.get(one.id, 0.0) + weight / (_RRF + rank)
    return [(known[id], scores[id]) for id in sorted(scores, key=lambda id: -scores[id])]


def seated(ranked: Sequence[tuple[Near, float]], most: int = MOST) -> list[tuple[Near, float]]:
    """The best few; one failure has a seat among them when there is one, however many fixes are nearer."""
    chosen = list(ranked[:most])
    if any(one.outcome == Outcome.NOT_FIXED for one, _ in chosen):
        return chosen
    failed = next((pair for pair in ranked[most:] if pair[0].outcome == Outcome.NOT_FIXED), None)
    return [*chosen[: most - 1], failed] if failed else chosen


def _parts(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[A-Za-z0-9]+", plain)


def _pieces(part: str) -> list[str]:
    return [piece.lower() for piece in _PIECES.findall(part)]


def _params(case: Closed) -> tuple[str, ...]:
    """Names come from the playbook, kinds from facts that were trusted."""
    if case.plan is None or case.plan.playbook is None:
        return ()
    kinds = {fact.id: fact.kind for fact in case.facts if fact.trusted}
    bound = {name: kinds.get(id) for name, id in case.plan.binds.items()}
    return tuple(f"{name}={bound[name]}" if bound.get(name) else name for name in sorted(case.plan.params))


def _of_entity(entity: Entity | None) -> list[str]:
    return [] if entity is None else [*words(entity.name), _whole(entity.name), *words(entity.site)]


def _whole(name: str) -> str:
    """`web-01.lan` → web01lan: one word, so that other hosts of the same site are not near."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
