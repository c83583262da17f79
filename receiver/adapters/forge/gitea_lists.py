"""Lists of Gitea and Forgejo, page by page.

Decides to ask by number, since most lists carry no `Link` and those that do write it with an address of their own; and
that the end is where the forge's count says, not where a page is short: what one may not see is left out of pages.
Refuses lists that have no end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from receiver.adapters.forge.client import ForgeClient
from receiver.errors import Unavailable

LIMIT = 50
_MOST_PAGES = 30


class Lists:
    """What is asked in pages."""

    def __init__(self, client: ForgeClient) -> None:
        self._client = client

    async def all(self, place: str, doing: str) -> list[Any]:
        """Every item of a list."""
        return [one async for one in self.each(place, doing)]

    async def each(self, place: str, doing: str, params: Mapping[str, Any] | None = None) -> AsyncIterator[Any]:
        """Items in order, as many pages as are asked for."""
        known: set[int] = set()
        largest = 0
        for page in range(1, _MOST_PAGES + 1):
            asked = {**(params or {}), "page": page, "limit": LIMIT}
            answer = await self._client.answer(place, doing=doing, params=asked)
            ones = _listed(answer.body, doing)
            new = [one for one in ones if one["id"] not in known]
            for one in new:
                yield one
            known.update(one["id"] for one in new)
            largest, count = max(largest, len(ones)), answer.headers.get("x-total-count", "")
            # the server may have a smaller limit than ours, and a whole page may be hidden from us; a list without a
            # count ends with nothing new
            is_end = page * (largest or 1) >= int(count) if count.isdecimal() else not new
            if is_end or (count.isdecimal() and len(known) >= int(count)):
                return
        raise Unavailable(f"{doing}: more than {_MOST_PAGES} pages", after_seconds=60)

    async def whole(self, place: str, doing: str) -> list[Any]:
        """A list that has no pages."""
        return _listed(await self._client.get(place, doing=doing), doing)

    async def timeline(self, place: str, doing: str, since: datetime | None = None) -> AsyncIterator[list[Any]]:
        """Pages of what happened. Its count is that of the page, which may be wholly hidden: two such are the end."""
        params: dict[str, Any] = {"since": since.isoformat()} if since else {}
        empty = 0
        for page in range(1, _MOST_PAGES + 1):
            asked = {**params, "page": page, "limit": LIMIT}
            ones = _listed(await self._client.get(place, doing=doing, params=asked), doing)
            yield ones
            empty = 0 if ones else empty + 1
            if empty == 2:
                return
        raise Unavailable(f"{doing}: more than {_MOST_PAGES} pages of what happened", after_seconds=60)


def _listed(body: Any, doing: str) -> list[Any]:
    if not isinstance(body, list | None):
        raise Unavailable(f"{doing}: the answer is no list")
    return body or []  # where nothing is to be shown these forges answer `null`
