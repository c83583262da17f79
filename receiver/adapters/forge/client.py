"""HTTP to one forge's REST API: one way of asking, for all three of them.

Decides that a write is sent once and alone: one at a time, a pause between two, never repeated here, since an
answer that was lost may have been a yes. Reads are asked again after trouble. Refuses redirects (a renamed
repository is for a person to see), answers above a cap, and hosts other than its own, also in `Link`. A token is
sent in a header and never leaves in a message, not even where a forge repeats it to us.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from receiver.adapters.forge.settings import ForgeSettings
from receiver.errors import Conflict, Refused, Unavailable

MAX_BYTES = 8 << 20
MAX_PAGES = 30
#: pauses between the tries of a read
_AGAIN = (0.3, 1.0)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: how long a forge may ask us to wait before we stop believing it
_LONGEST_PAUSE = 3600.0

Authorize = Callable[[], Awaitable[Mapping[str, str]]]


class Answer:
    """One answer, read to its end."""

    def __init__(self, status: int, headers: httpx.Headers, body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body


class ForgeClient:
    """Requests to one forge with one account."""

    def __init__(
        self,
        settings: ForgeSettings,
        authorize: Authorize,
        *,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings, self._authorize = settings, authorize
        self._http = httpx.AsyncClient(
            headers={"User-Agent": "gitmedic", **(headers or {})},
            timeout=settings.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            verify=_trusting(settings.ca_file) if settings.ca_file else True,
            transport=transport,
        )
        self._writing = asyncio.Lock()
        self._written_at = 0.0
        self._not_before = 0.0
        self._known: dict[str, tuple[str, Answer]] = {}
        self._secrets: set[str] = set()
        #: how far the forge's clock is ahead of ours, by its last answer
        self.skew = timedelta()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, *, doing: str, params: Mapping[str, Any] | None = None, missing: bool = False
    ) -> Any:
        """The JSON of one resource; with `missing` a 404 is None."""
        fine = frozenset({404}) if missing else frozenset[int]()
        answer = await self.answer(path, doing=doing, params=params, fine=fine)
        return None if answer.status == 404 else answer.body

    async def answer(
        self, path: str, *, doing: str, params: Mapping[str, Any] | None = None, fine: frozenset[int] = frozenset()
    ) -> Answer:
        """As `get`, with status and headers. Statuses in `fine` are answers."""
        return await self._read(self._url(path), dict(params or {}), doing, fine=fine)

    async def pages(
        self, path: str, *, doing: str, params: Mapping[str, Any] | None = None, most: int = MAX_PAGES
    ) -> list[Any]:
        """All items of a list, following `Link: rel=next` (RFC 8288); a short page is not the end."""
        found: list[Any] = []
        url, query = self._url(path), dict(params or {})
        for _ in range(most):
            answer = await self._read(url, query, doing)
            found += self._items(answer, doing)
            following = _next_link(answer.headers)
            if following is None:
                return found
            url, query = self._own(following, doing), {}
        raise Unavailable(f"{doing}: more than {most} pages", after_seconds=60)

    async def fresh(self, path: str, *, doing: str, params: Mapping[str, Any] | None = None) -> Any:
        """As `get`, by a conditional request: what has not changed is not sent again (RFC 9110, If-None-Match)."""
        return (await self._fresh(path, doing, params)).body

    async def newest(
        self,
        path: str,
        *,
        doing: str,
        params: Mapping[str, Any],
        enough: Callable[[Any], bool],
        most: int = 5,
    ) -> list[Any]:
        """Items of a list that comes newest first, up to one that is `enough`; the first page as `fresh` does it."""
        found: list[Any] = []
        answer = await self._fresh(path, doing, params)
        for page in range(1, most + 1):
            for item in self._items(answer, doing):
                if enough(item):
                    return found
                found.append(item)
            following = _next_link(answer.headers)
            if following is None or page == most:
                break
            answer = await self._read(self._own(following, doing), {}, doing)
        return found

    async def write(
        self, method: str, path: str, body: Any, *, doing: str, fine: frozenset[int] = frozenset()
    ) -> Answer:
        """One write, sent once. Statuses in `fine` are answers; the rest becomes an error by its consequence."""
        async with self._writing:
            pause = self._written_at + self._settings.write_seconds - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            try:
                answer = await self._send(method, self._url(path), {}, body, doing)
            finally:
                self._written_at = time.monotonic()
        if answer.status < 300 or self._is_fine(answer, fine):
            return answer
        raise self.error(answer, doing)

    # --- inside

    @staticmethod
    def _items(answer: Answer, doing: str) -> list[Any]:
        if not isinstance(answer.body, list):
            raise Unavailable(f"{doing}: the answer is no list")
        return answer.body

    async def _fresh(self, path: str, doing: str, params: Mapping[str, Any] | None) -> Answer:
        """What was kept keeps its headers too: an answer that says `not modified` names no next page."""
        url = self._url(path)
        key = str(httpx.URL(url, params=dict(params or {})))
        tag, kept = self._known.get(key, ("", None))
        answer = await self._read(url, dict(params or {}), doing, tag=tag)
        if answer.status == 304 and kept is not None:
            return kept
        if answer.headers.get("etag"):
            self._known = {key: (answer.headers["etag"], answer)}
        return answer

    async def _read(
        self, url: str, query: dict[str, Any], doing: str, *, fine: frozenset[int] = frozenset(), tag: str = ""
    ) -> Answer:
        for pause in (*_AGAIN, None):
            try:
                answer = await self._send("GET", url, query, None, doing, tag)
            except Unavailable:
                if pause is None or time.monotonic() < self._not_before:
                    raise
            else:
                if answer.status == 200 or self._is_fine(answer, fine) or (tag and answer.status == 304):
                    return answer
                error = self.error(answer, doing)
                if pause is None or answer.status not in _PASSING or time.monotonic() < self._not_before:
                    raise error
            await asyncio.sleep(pause)
        raise Unavailable(doing)

    def _is_fine(self, answer: Answer, fine: frozenset[int]) -> bool:
        """A limit comes with the status of a refusal, and is none."""
        is_limit = answer.status in (403, 429) and self._not_before > time.monotonic()
        return answer.status in fine and not is_limit

    async def _send(self, method: str, url: str, query: dict[str, Any], body: Any, doing: str, tag: str = "") -> Answer:
        wait = self._not_before - time.monotonic()
        if wait > 0:
            raise Unavailable(f"{doing}: {self._settings.kind} asks us to wait {wait:.0f} s", after_seconds=wait)
        headers = self._checked(await self._authorize(), doing) | ({"If-None-Match": tag} if tag else {})
        try:
            # the timeouts of httpx bound each wait, not the whole: an answer that drips for ever ends here
            async with asyncio.timeout(3 * self._settings.timeout_seconds):
                answer = await self._exchange(method, url, query, body, headers, doing)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            said = self._without_secrets(str(error) or type(error).__name__)
            if "CERTIFICATE_VERIFY_FAILED" in said:
                why = said.partition("certificate verify failed: ")[2].partition(" (")[0]
                raise Refused(
                    f"{doing}: the certificate of {self._settings.host} is not trusted: {why[:100]}",
                    next_step="name it, or its authority, as forge.ca_file",
                    reason="certificate",
                ) from None
            raise Unavailable(f"{doing} at {self._settings.host}: {said[:200]}") from None
        self._note_limits(answer)
        date = _date(answer.headers.get("date"))
        self.skew = date - datetime.now(UTC) if date is not None else self.skew
        return answer

    async def _exchange(
        self, method: str, url: str, query: dict[str, Any], body: Any, headers: dict[str, str], doing: str
    ) -> Answer:
        # empty parameters would take away those that the address of a next page has
        async with self._http.stream(method, url, params=query or None, json=body, headers=headers) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise Unavailable(f"{doing}: the answer is larger than {MAX_BYTES >> 20} MB")
            return Answer(response.status_code, response.headers, _json(bytes(content)))

    def _checked(self, headers: Mapping[str, str], doing: str) -> dict[str, str]:
        """A token that is no header would come back whole in the error of whoever refuses to send it."""
        for value in headers.values():
            if not (value.isascii() and value.isprintable()):
                raise Refused(
                    f"{doing}: the token of {self._settings.kind} has a character that no token has",
                    next_step="gitmedic forge connect",
                    reason="token",
                )
            self._secrets.update(part for part in (value, value.rpartition(" ")[2]) if len(part) >= 8)
        while len(self._secrets) > 64:
            self._secrets.pop()
        return dict(headers)

    def _without_secrets(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "…")
        return text

    def _note_limits(self, answer: Answer) -> None:
        """Primary and secondary limits: nothing is sent before the moment that the forge named."""
        if answer.status not in (403, 429, 503):
            return
        headers, now = answer.headers, _date(answer.headers.get("date")) or datetime.now(UTC)
        pause = _seconds(headers.get("retry-after"), now)
        if answer.status != 503:
            if _first(headers, "x-ratelimit-remaining", "ratelimit-remaining") == "0":
                pause = max(pause, _until(_first(headers, "x-ratelimit-reset", "ratelimit-reset"), now), 1.0)
            if not pause and (answer.status == 429 or "rate limit" in _words(answer.body).lower()):
                pause = 60.0
        if pause > 0:
            self._not_before = time.monotonic() + min(pause, _LONGEST_PAUSE)

    def error(self, answer: Answer, doing: str) -> Exception:
        """An answer that is none of the expected ones, by its consequence."""
        said = self._without_secrets(_words(answer.body))[:300]
        waits = self._not_before - time.monotonic()
        if answer.status in _PASSING or (answer.status == 403 and waits > 0):
            return Unavailable(f"{doing}: {answer.status} {said}".rstrip(), after_seconds=max(5.0, waits))
        message = f"{doing}: {self._settings.kind} answers {answer.status} {said}".rstrip()
        if 300 <= answer.status < 400:
            place = self._without_secrets(_line(answer.headers.get("location", "")))[:200]
            step = f"the repository was moved or renamed (to {place}): gitmedic forge connect"
            return Refused(message, next_step=step, reason="moved")
        if answer.status == 401:
            return Refused(message, next_step="its token is wrong or expired: gitmedic forge connect", reason="token")
        if answer.status in (403, 404, 410, 451):
            step = "see what the token lacks with: gitmedic doctor"
            return Refused(message, next_step=step, reason="not_found" if answer.status in (404, 410) else "forbidden")
        if answer.status == 409:
            return Conflict(message)
        return Refused(message, next_step="gitmedic doctor", reason=f"http_{answer.status}")

    def _url(self, path: str) -> str:
        return f"{self._settings.api}/{path.lstrip('/')}"

    def _own(self, url: str, doing: str) -> str:
        """A page that lies on the same server, else nobody is told our token."""
        here = httpx.URL(self._settings.api)
        try:
            there = here.join(url)
        except httpx.InvalidURL:
            raise Unavailable(f"{doing}: the address of the next page is none") from None
        if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
            raise Refused(
                f"{doing}: the next page lies on another server, {there.host!r:.80}",
                next_step="set forge.api_url to the address under which the forge itself writes its links",
                reason="moved",
            )
        return str(there)


def _trusting(file: Path) -> ssl.SSLContext:
    """Trusts what this file holds and nothing else: a certificate itself, or its authority."""
    try:
        context = ssl.create_default_context(cafile=str(file))
    except (OSError, ValueError) as error:
        raise Refused(
            f"reading forge.ca_file {str(file)!r}: {error}", next_step="name a file of certificates in PEM"
        ) from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _json(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return httpx.Response(200, content=content).json()
    except ValueError:
        return content[:1000].decode("utf-8", "replace")


def _words(body: Any) -> str:
    """The forge's own words, one bounded line of text."""
    if isinstance(body, dict):
        parts = [body.get("message"), body.get("error"), body.get("error_description")]
        parts += [one.get("message") if isinstance(one, dict) else one for one in body.get("errors") or []]
        said = "; ".join(str(part) for part in parts if part)
    else:
        said = str(body or "")
    return _line(said)[:1000]


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _next_link(headers: httpx.Headers) -> str | None:
    """The target that is called `next`; a target may hold commas."""
    for target, attributes in re.findall(r"<([^<>]*)>([^<]*)", headers.get("link", "")[:10_000]):
        if re.search(r';\s*rel="?next\b', attributes, re.IGNORECASE):
            return str(target)
    return None


def _first(headers: httpx.Headers, *names: str) -> str:
    return next((headers[name] for name in names if name in headers), "")


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(text: str | None, now: datetime) -> float:
    """`Retry-After`: seconds or a date (RFC 9110), by the forge's own clock."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        moment = _date(text)
        seconds = (moment - now).total_seconds() if moment else 0.0
    return max(seconds, 0.0) if seconds < float("inf") else _LONGEST_PAUSE


def _until(text: str, now: datetime) -> float:
    """A moment in seconds since the epoch, as seconds from now."""
    try:
        return max(float(text) - now.timestamp(), 0.0)
    except ValueError:
        return 0.0
