"""One plan per group in a storm: the same alert about the same thing with the same facts is asked once.

Decides what is the same: everything that a model would be told, but for when it was read. Refuses to remember a chain
that failed: the next case tries all of it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

from receiver.domain.plan import Plan
from receiver.domain.question import Question
from receiver.domain.record import Record

_MOST = 500


class Known(Record):
    """A plan that stands for others."""

    plan: Plan
    case: str
    at: float


class Storm:
    """Answers of the last moments, by digest of the question."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._known: dict[str, Known] = {}
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, question: Question) -> AsyncIterator[Known | None]:
        """One of a group at a time; who comes later finds what the first one heard."""
        key = digest(question)
        lock, waiting = self._turns.get(key, (asyncio.Lock(), 0))
        self._turns[key] = (lock, waiting + 1)
        try:
            async with lock:
                known = self._known.get(key)
                yield known if known and self._now() - known.at < self._seconds else None
        finally:
            lock, waiting = self._turns[key]
            if waiting == 1:
                del self._turns[key]
            else:
                self._turns[key] = (lock, waiting - 1)

    def keep(self, question: Question, plan: Plan) -> None:
        """For as long as a storm lasts; the oldest make room."""
        self._known[digest(question)] = Known(plan=plan, case=question.case, at=self._now())
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def age(self, known: Known) -> float:
        """Seconds since it was heard."""
        return self._now() - known.at


def digest(question: Question) -> str:
    """Over what would be told, and the revision in force; not over when and for which case."""
    alert, entity = question.alert, question.entity
    told = {
        "revision": question.revision.commit,
        "alert": [alert.source, alert.status, sorted(alert.labels.items()), sorted(alert.annotations.items())],
        "entity": entity.name if entity else None,
        "confirmed": bool(question.confirmation and question.confirmation.confirmed),
        "facts": [(fact.id, fact.kind, fact.value, fact.note, fact.source, fact.trusted) for fact in question.facts],
        "memories": [one.id for one in question.memories],
        "offers": [offer.id for offer in question.offers],
    }
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
