"""What goes wrong between a forge and its client, in the order in which a test asks for it; and a log of all requests.

Decides for each request whether it is answered, before or after it took effect. A fault is used up by the requests
it matches.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

What = Literal[
    "500 before the effect", "502 after the effect", "lost before the effect", "lost after the effect",
    "secondary limit", "too many requests", "rate limited", "delay", "redirect",
]  # fmt: skip


@dataclass
class Fault:
    """One thing that goes wrong."""

    method: str  #: a regular expression, whole
    path: str  #: a regular expression, anywhere in path and query
    what: What
    times: int
    seconds: float  #: of Retry-After or of the delay
    location: str  #: of a redirect

    def answer(self) -> tuple[int, dict[str, str], str] | None:
        """Status, headers and words in the place of the forge's own answer."""
        reset = str(int(time.time() + self.seconds))
        return {
            "500 before the effect": (500, {}, ""),
            "502 after the effect": (502, {}, "Bad Gateway"),
            "secondary limit": (
                403, {"retry-after": f"{self.seconds:.0f}"}, "You have exceeded a secondary rate limit."
            ),
            "too many requests": (429, {"retry-after": f"{self.seconds:.0f}"}, "Retry later"),
            "rate limited": (
                403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, "API rate limit exceeded"
            ),
            "redirect": (301, {"location": self.location}, "Moved Permanently"),
        }.get(self.what)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One request as it came in, and the status that was sent; 0: the connection was dropped."""

    method: str
    path: str  #: with its query
    headers: dict[str, str]
    body: bytes
    status: int
    at: float


@dataclass
class Faults:
    """The queue and the log of one server."""

    queue: list[Fault] = field(default_factory=list)
    log: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, method: str, path: str, what: What, *, times: int = 1, seconds: float = 1.0, location: str = ""
    ) -> None:
        """The next so many requests that match meet it."""
        with self._lock:
            self.queue.append(Fault(method, path, what, times, seconds, location))

    def take(self, method: str, path: str) -> Fault | None:
        """The first that matches, used up by one."""
        with self._lock:
            for one in self.queue:
                if re.fullmatch(one.method, method) and re.search(one.path, path):
                    one.times -= 1
                    if one.times == 0:
                        self.queue.remove(one)
                    return one
        return None

    def note(self, seen: Seen) -> None:
        """Into the log."""
        with self._lock:
            self.log.append(seen)

    def requests(self, method: str = ".*", path: str = "") -> list[Seen]:
        """What was asked so far, in order."""
        with self._lock:
            return [one for one in self.log if re.fullmatch(method, one.method) and re.search(path, one.path)]
