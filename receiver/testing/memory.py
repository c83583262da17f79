"""The memory and an embedder without a model: what shares words is near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256

from receiver.domain.alert import Alert
from receiver.domain.case import Closed
from receiver.domain.entity import Entity
from receiver.domain.memory import Precedent
from receiver.domain.recall import Near, Remembered, asked, fused, is_verified, name_of, remembered, seated, words
from receiver.errors import Unavailable
from receiver.ports import Clock


class FakeMemory:
    """The Memory port over a list; `is_away` makes every recall empty."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.kept: dict[str, tuple[Remembered, Precedent]] = {}
        self.is_away = False

    async def recall(self, alert: Alert, entity: Entity | None) -> list[Precedent]:
        """By shared words, then by the very name; verified ones only."""
        if self.is_away:
            return []
        wanted, name = set(asked(alert, entity)), name_of(alert)
        newest = [pair for pair in reversed(self.kept.values()) if is_verified(pair[0].outcome)]
        shared = [(len(wanted & set(kept.body.split())), _near(kept)) for kept, _ in newest]
        by_text = [near for count, near in sorted(shared, key=lambda pair: -pair[0]) if count]
        by_name = [_near(kept) for kept, _ in newest if name and kept.alertname == name]
        found = seated(fused([(1.0, by_text), (0.5, by_name)]))
        return [self.kept[near.id][1].model_copy(update={"score": score}) for near, score in found]

    async def remember(self, case: Closed) -> None:
        """Once."""
        kept = remembered(case)
        precedent = Precedent(
            id=kept.id, kind="case", at=self._clock.now(), text=kept.text, alertname=kept.alertname,
            entity=kept.entity, playbook=kept.playbook, outcome=kept.outcome,
        )  # fmt: skip
        self.kept.setdefault(case.id, (kept, precedent))


class FakeEmbedder:
    """The Embedder port: a direction for each word; `same` says which words mean another one."""

    def __init__(self, dims: int = 64, model: str = "fake") -> None:
        self.model, self.dims = model, dims
        self.same: dict[str, str] = {}
        self.is_down = False
        self.asked: list[tuple[str, bool]] = []

    async def embed(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """A sum over words, at length 1."""
        if self.is_down:
            raise Unavailable("embedding: the fake is down")
        self.asked += [(text, query) for text in texts]
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        sums = [0.0] * self.dims
        for word in [self.same.get(word, word) for word in words(text)] or [""]:
            digest = sha256(word.encode()).digest()
            sums[int.from_bytes(digest[:4], "big") % self.dims] += 1 if digest[4] % 2 else -1
        length = math.hypot(*sums)
        return [value / length for value in sums] if length else [1.0] + [0.0] * (self.dims - 1)


def _near(kept: Remembered) -> Near:
    return Near(id=kept.id, kind="case", outcome=kept.outcome)
