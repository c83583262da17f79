"""Vectors from any endpoint that speaks OpenAI's `POST /v1/embeddings`.

Refuses redirects, answers larger than a cap, and every answer that is not one finite vector of one length for each
text: all of that is `Unavailable`, in one sentence without the key and without what the other side wrote.
https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

import httpx

from receiver.adapters.embedder.settings import EmbedderSettings
from receiver.errors import Unavailable

_MAX_BYTES = 32 << 20
#: that halfvec can hold
_MAX_DIMS = 16_000


class OpenAIEmbedder:
    """The Embedder port over HTTP."""

    def __init__(self, settings: EmbedderSettings) -> None:
        self.model = settings.model
        self._settings = settings
        self._http = httpx.AsyncClient(
            timeout=settings.timeout_seconds, follow_redirects=False, trust_env=settings.use_proxy
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def embed(self, texts: Sequence[str], *, query: bool) -> list[list[float]]:
        """One vector of length 1 per text, in order; all of one dimension. Raises `Unavailable`."""
        prefix = self._settings.query_prefix if query else self._settings.document_prefix
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._settings.batch):
            batch = [prefix + text for text in texts[start : start + self._settings.batch]]
            vectors += _vectors(await self._ask(batch), len(batch))
        if len({len(vector) for vector in vectors}) > 1:
            raise Unavailable("embedding: the vectors of one answer have different lengths")
        return vectors

    async def _ask(self, texts: list[str]) -> Any:
        url = f"{self._settings.base_url}/embeddings"
        body = {"model": self.model, "input": texts, "encoding_format": "float"}
        headers = self._headers()
        try:
            # httpx counts from byte to byte: an answer that drips would take for ever
            async with (
                asyncio.timeout(self._settings.timeout_seconds),
                self._http.stream("POST", url, json=body, headers=headers) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise Unavailable(f"embedding: {url} answered {answer.status_code}")
                data = bytearray()
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > _MAX_BYTES:
                        raise Unavailable(f"embedding: {url} answered more than {_MAX_BYTES >> 20} MiB")
            return json.loads(data)
        except TimeoutError as error:
            raise Unavailable(f"embedding: {url} took longer than {self._settings.timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"embedding: {url}: {type(error).__name__}: {str(error)[:200]}") from error
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"embedding: {url} did not answer JSON") from error

    def _headers(self) -> dict[str, str]:
        """Read each time, so that a new key needs no restart."""
        if self._settings.key_file is None:
            return {}
        try:
            key = self._settings.key_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"embedding: the key in {self._settings.key_file} cannot be read") from error
        return {"Authorization": f"Bearer {key}"}


def _vectors(answer: Any, count: int) -> list[list[float]]:
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != count or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"embedding: the answer has no list `data` with {count} entries")
    if any("index" in row for row in rows):
        placed = {row.get("index"): row for row in rows if isinstance(row.get("index"), int)}
        if sorted(placed) != list(range(count)):
            raise Unavailable("embedding: the answer's `index` does not number its entries")
        rows = [placed[number] for number in range(count)]
    return [_unit(row.get("embedding")) for row in rows]


def _unit(values: Any) -> list[float]:
    """At length 1: cosine needs no more, and a half float holds it."""
    if not isinstance(values, list) or not 0 < len(values) <= _MAX_DIMS:
        raise Unavailable("embedding: an entry has no list `embedding` of numbers")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise Unavailable("embedding: an entry of `embedding` is no number")
    try:
        length = math.hypot(*values)
    except OverflowError:  # a whole number beyond what a float holds
        length = math.inf
    if not math.isfinite(length) or length == 0:
        raise Unavailable("embedding: a vector has no direction")
    return [value / length for value in values]
