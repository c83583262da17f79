"""Vectors beside the words of the memory: kept by model and dimensions, made in the background, missed without harm.

Decides when the embedder counts as up: it answered, its vectors have the dimensions of those that are kept, and
pgvector is there. Otherwise nothing is asked of it until the next round of the background job, recall goes on by text,
and it is said once. A model with other dimensions is a new model: its vectors replace the old ones row by row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import structlog
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.pool import translated
from receiver.adapters.store.queries import load
from receiver.domain.recall import Near, spoken
from receiver.errors import Retry, Unavailable
from receiver.ports import Embedder

log = structlog.get_logger()

SQL = load("vectors")
#: of one question at recall; a plan does not wait longer
DEADLINE_SECONDS = 1.0
#: rows of one round of the background job, so that it ends
_ROUND = 4096
#: below it reading all is as fast as an index
INDEX_FROM = 1000
#: that pgvector can index as halfvec
_MOST_INDEXED = 4000


class Vectors:
    """What an embedder adds to recall."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        embedder: Embedder,
        *,
        batch: int = 64,
        least_similarity: float = 0.25,
        index_from: int = INDEX_FROM,
    ) -> None:
        self._pool, self._embedder = pool, embedder
        self._batch, self._distance, self._index_from = batch, 1 - least_similarity, index_from
        self._dims: int | None = None
        self._has_table = self._goes_without = False
        self.is_up: bool | None = None  #: None: not asked yet
        self.why = ""  #: why not

    async def near(self, text: str, most: int) -> list[Near]:
        """What is nearest by meaning; nothing when that cannot be told within a second."""
        if self.is_up is False:
            return []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                if not await self._ready():
                    return []
                (vector,) = await self._embedder.embed([text], query=True)
        except (Retry, TimeoutError) as error:
            self._fell(str(error) or f"no answer within {DEADLINE_SECONDS:g} s")
            return []
        if self._dims is not None and len(vector) != self._dims:
            self._fell(f"vectors have {len(vector)} dimensions, not {self._dims}: all are made again")
            self._dims = None
            return []
        model, dims = sql.Literal(self._embedder.model), sql.Literal(len(vector))
        rows = await self._rows(
            sql.SQL(SQL["near"]).format(model=model, dims=dims),
            vector=_text(vector),
            most=most,
            distance=self._distance,
        )
        return [Near(**row) for row in rows]

    async def catch_up(self) -> int:
        """One round of the background job: embed what has no vector of this model yet; how many were made."""
        made = 0
        try:
            if not await self._ready():
                return 0
            if self._dims is None or not self.is_up:
                self._dims = await self._probed()
            while made < _ROUND:
                rows = await self._rows(sql.SQL(SQL["pending"]), key=self._key, limit=self._batch)
                if not rows:
                    await self._indexed()
                    self._rose()
                    break
                made += await self._embed(rows)
        except Unavailable as error:
            self._fell(error.message)
        return made

    @property
    def _key(self) -> str:
        return f"{self._embedder.model}:{self._dims}"

    async def _ready(self) -> bool:
        """Whether vectors can be kept at all."""
        if not self._has_table:
            ((why),) = [row["why"] for row in await self._rows(sql.SQL(SQL["ready"]))]
            self._has_table = not why
            if why:
                self._fell(f"this PostgreSQL keeps no vectors: {why}")
        return self._has_table

    async def _probed(self) -> int:
        (vector,) = await self._embedder.embed(["gitmedic"], query=False)
        return len(vector)

    async def _embed(self, rows: Sequence[dict[str, Any]]) -> int:
        vectors = await self._embedder.embed([_document(row) for row in rows], query=False)
        dims = {len(vector) for vector in vectors}
        if dims != {self._dims}:
            before, self._dims = self._dims, None
            raise Unavailable(f"embedding: vectors have {dims} dimensions, not {before}: all are made again")
        await self._run(
            sql.SQL(SQL["keep"]), ids=[row["id"] for row in rows], vectors=[_text(vector) for vector in vectors],
            model=self._embedder.model, dims=self._dims, key=self._key,
        )  # fmt: skip
        return len(rows)

    async def _indexed(self) -> None:
        """The index of this model once there is enough of it; those of models before it go."""
        dims = self._dims or 0
        wanted = f"memory_vectors_{sha256(self._key.encode()).hexdigest()[:16]}"
        found = {row["name"]: row["is_valid"] for row in await self._rows(sql.SQL(SQL["indexes"]))}
        if set(found) <= {wanted} and found.get(wanted, False):
            return
        model = self._embedder.model
        (count,) = await self._rows(sql.SQL(SQL["count"]), model=model, dims=dims, limit=self._index_from)
        wants = count["number"] >= self._index_from and dims <= _MOST_INDEXED
        if not await self._may_index(wants):
            return
        with translated("indexing vectors"):
            async with self._pool.connection() as connection:
                ours = await (await connection.execute(SQL["only_one"])).fetchone()
                if not (ours and ours[0]):
                    return  # another worker does it
                try:
                    # once more: another worker may have been done with it a moment ago
                    rows = await (await connection.execute(SQL["indexes"])).fetchall()
                    found = {name: is_valid for name, is_valid in rows}
                    for name, is_valid in found.items():
                        if name != wanted or not is_valid:
                            await connection.execute(sql.SQL(SQL["drop_index"]).format(name=sql.Identifier(name)))
                    if wants and not found.get(wanted):
                        await connection.execute(SQL["room"])
                        await connection.execute(
                            sql.SQL(SQL["make_index"]).format(
                                name=sql.Identifier(wanted), model=sql.Literal(model), dims=sql.Literal(dims)
                            )
                        )
                        await connection.execute(SQL["usual_room"])
                finally:
                    await connection.execute(SQL["done"])

    async def _may_index(self, wants: bool) -> bool:
        """Whether this database role owns the vectors; one that does not goes without an index, and says so once."""
        (owned,) = await self._rows(sql.SQL(SQL["owned"]))
        if owned["is_ours"]:
            return True
        if wants and not self._goes_without:
            log.warning(
                "memory.no_index", model=self._embedder.model, recall="reads all vectors",
                next_step="let the planner work once as the owner of the tables, or go without",
            )  # fmt: skip
            self._goes_without = True
        return False

    def _fell(self, why: str) -> None:
        if self.is_up is not False or why != self.why:
            log.warning("memory.embedder_down", model=self._embedder.model, why=why, recall="by text only")
        self.is_up, self.why = False, why

    def _rose(self) -> None:
        if not self.is_up:
            log.info("memory.embedder_up", model=self._embedder.model, dimensions=self._dims)
        self.is_up, self.why = True, ""

    async def _rows(self, query: sql.Composable, **values: Any) -> list[dict[str, Any]]:
        with translated("reading vectors"):
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(query, values)
                rows: list[dict[str, Any]] = await cursor.fetchall()
                return rows

    async def _run(self, query: sql.Composable, **values: Any) -> None:
        with translated("keeping vectors"):
            async with self._pool.connection() as connection:
                await connection.execute(query, values)


def _document(row: dict[str, Any]) -> str:
    """A case by its fields, a note by its words."""
    if row["kind"] == "note":
        return f"{row['alertname']}: {row['text']}" if row["alertname"] else str(row["text"])
    return spoken(row["alertname"], row["playbook"])


def _text(vector: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in vector)}]"
