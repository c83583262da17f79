"""What became of closed cases, and what operators noted: kept once, found again by words, name and meaning.

Decides what is near: the alert's very name, rows that share its rarest words, and with an embedder what means the
same, fused by rank. Only verified cases and notes are found. The work of a recall is capped on every side, so that it
takes as long with a million rows as with a thousand. Refuses to hold up a plan: what cannot be told in time is nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import structlog
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.adapters.store.vectors import Vectors
from receiver.domain.alert import Alert
from receiver.domain.case import Closed
from receiver.domain.entity import Entity
from receiver.domain.memory import Precedent
from receiver.domain.recall import (
    MAX_NOTE,
    MOST,
    Near,
    asked,
    clean_name,
    fused,
    is_verified,
    name_of,
    remembered,
    searchable,
    seated,
    spoken,
    words,
)
from receiver.errors import GitmedicError

log = structlog.get_logger()

SQL = load("memory")
#: of a whole recall; a plan goes on without it
DEADLINE_SECONDS = 2.0
#: rows that each side of the text search looks at: those with a rare word lie anywhere, the newest lie together
_FEW, _NEWEST = 300, 1000
_LIST = 40
_TEXT, _NAME, _VECTOR = 1.0, 0.5, 1.0


class PostgresMemory:
    """The Memory port on PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool[Any], vectors: Vectors | None = None) -> None:
        self._pool, self.vectors = pool, vectors
        self._late: set[asyncio.Task[list[Precedent]]] = set()

    async def recall(self, alert: Alert, entity: Entity | None) -> list[Precedent]:
        """The nearest few, best first; nothing when nothing is near or the store does not answer in time."""
        name = name_of(alert)
        looking = asyncio.create_task(self._found(asked(alert, entity), name, spoken(name), MOST))
        try:
            await asyncio.wait([looking], timeout=DEADLINE_SECONDS)
            if looking.done():
                return looking.result()
            log.warning("memory.recall_failed", why=f"no answer within {DEADLINE_SECONDS:g} s")
        except GitmedicError as error:
            log.warning("memory.recall_failed", why=error.message)
        except Exception:
            log.exception("memory.recall_broken")
        finally:
            self._let_go(looking)
        return []

    async def remember(self, case: Closed) -> None:
        """One row, once."""
        kept = remembered(case)
        values = kept.model_dump() | {"params": list(kept.params), "is_recalled": is_verified(kept.outcome)}
        await self._rows("remember", **values)

    async def search(self, text: str, limit: int = MOST) -> list[Precedent]:
        """What a recall would find for these words, best first."""
        return await self._found(searchable(words(text)), clean_name(text), spoken(text[:MAX_NOTE]), limit)

    def _let_go(self, looking: asyncio.Task[list[Precedent]]) -> None:
        """What is late is cancelled and not waited for: a server that hangs answers a cancellation as late."""
        if not looking.done():
            self._late.add(looking)
            looking.add_done_callback(self._late.discard)
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())
            looking.cancel()

    async def _found(self, terms: Sequence[str], name: str, sentence: str, most: int) -> list[Precedent]:
        (text, by_name), vectors = await asyncio.gather(self._by_words(terms, name), self._by_meaning(sentence))
        chosen = seated(fused([(_VECTOR, vectors), (_TEXT, text), (_NAME, by_name)]), most)
        rows = await self._rows("some", ids=[one.id for one, _ in chosen]) if chosen else []
        by_id = {row["id"]: row for row in rows}  # what was forgotten meanwhile is not there
        return [_precedent(by_id[one.id], score) for one, score in chosen if one.id in by_id]

    async def _by_words(self, terms: Sequence[str], name: str) -> tuple[list[Near], list[Near]]:
        """One after the other: a recall takes no more than two connections."""
        return await self._by_text(terms), await self._by_name(name)

    async def _by_text(self, terms: Sequence[str]) -> list[Near]:
        """Rows that share a word; the rarer the word, the more it counts."""
        if not terms:
            return []
        found = await self._rows("terms", words=" ".join(terms))
        # rarest first; a word that very many rows have is looked for among the newest only
        rare = [one["lexeme"] for one in found if one["having_it"] <= _FEW or not one["is_common"]]
        weights = [math.log(1 + (one["rows"] + 1) / (one["having_it"] + 1)) for one in found]
        rows = await self._rows(
            "near_text", rare=rare, lexemes=[one["lexeme"] for one in found], weights=weights,
            few=_FEW, newest=_NEWEST, most=2 * _LIST,
        )  # fmt: skip
        return [Near(id=row["id"], kind=row["kind"], outcome=row["outcome"]) for row in rows]

    async def _by_name(self, name: str) -> list[Near]:
        rows = await self._rows("near_name", alertname=name, most=_LIST) if name else []
        return [Near(id=row["id"], kind=row["kind"], outcome=row["outcome"]) for row in rows]

    async def _by_meaning(self, sentence: str) -> list[Near]:
        return await self.vectors.near(sentence, _LIST) if self.vectors else []

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with translated(f"{name} of the memory"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(SQL[name], values)
                rows: list[dict[str, Any]] = await cursor.fetchall() if cursor.description else []
                return rows


def _precedent(row: dict[str, Any], score: float) -> Precedent:
    kept = {name: row[name] for name in ("id", "kind", "at", "text", "alertname", "entity", "playbook", "outcome")}
    return Precedent(**kept, author=row["author"], tags=tuple(row["tags"]), score=round(score, 5))
