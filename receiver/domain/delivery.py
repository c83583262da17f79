"""What a forge's webhook says, as far as it is kept: where to look, and who pushed what.

Decides which events are listened to, by the signed body more than by headers, which nobody signs. It grants nothing:
whatever it says of a pull request is read again from the forge. A value that is not what it should be is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from receiver.domain.record import Record

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_NUMBER = 2**31 - 1
_MOST_TEXT = 255
_NO_COMMIT = re.compile(r"0+")
#: beside `push`: GitHub's and Gitea's names, of which Gitea has one for each kind of review
_PULL_EVENTS = re.compile(r"pull_request(_review)?(_?(sync|approved|rejected|comment|reviewed))?")
_SYNCHRONIZED = ("synchronize", "synchronized")


class Delivery(Record):
    """One webhook delivery of the configured repository."""

    forge: str
    repository: str  #: the forge's own number; as it is kept, our name for it (`key_of`)
    id: str  #: the forge's name of this delivery; the same again is the same delivery
    event: str
    number: int | None = None  #: of the pull request that it is about
    ref: str | None = None  #: that was pushed
    after_sha: str | None = None  #: what it stands at now
    pusher: str | None = None  #: the forge's number of whoever pushed that


def read_hook(forge: str, event: str, id: str, payload: Mapping[str, Any]) -> Delivery | None:
    """The delivery, or None when nothing listens to such an event; `event` as the headers name it."""
    if forge == "gitlab":
        return _gitlab(id, payload)
    repository = _id(_in(payload, "repository", "id")) or ""
    given = Delivery(forge=forge, repository=repository, id=id, event=event[:_MOST_TEXT])
    sender = _id(_in(payload, "sender", "id"))
    if event == "push" and "after" in payload:
        return _pushed(given, payload.get("ref"), payload["after"], sender)
    if not _PULL_EVENTS.fullmatch(event) or not isinstance(payload.get("pull_request"), Mapping):
        return None
    found = given.model_copy(update={"number": _number(_in(payload, "pull_request", "number"))})
    # what somebody pushes to a branch of the same name elsewhere says nothing of ours
    is_here = repository == _id(_in(payload, "pull_request", "head", "repo", "id"))
    if payload.get("action") not in _SYNCHRONIZED or not is_here:
        return found
    head = _in(payload, "pull_request", "head", "sha")
    return _pushed(found, f"refs/heads/{_in(payload, 'pull_request', 'head', 'ref')}", head, sender)


def _gitlab(id: str, payload: Mapping[str, Any]) -> Delivery | None:
    kind = payload.get("object_kind")
    repository = _id(_in(payload, "project", "id")) or ""
    if kind == "push":
        given = Delivery(forge="gitlab", repository=repository, id=id, event="push")
        return _pushed(given, payload.get("ref"), payload.get("after"), _id(payload.get("user_id")))
    about = payload.get("object_attributes")
    if kind != "merge_request" or not isinstance(about, Mapping):
        return None
    number = _number(about.get("iid"))
    given = Delivery(forge="gitlab", repository=repository, id=id, event="merge_request", number=number)
    if not about.get("oldrev") or repository != _id(about.get("source_project_id")):
        return given
    ref = f"refs/heads/{about.get('source_branch')}"
    return _pushed(given, ref, _in(about, "last_commit", "id"), _id(_in(payload, "user", "id")))


def _pushed(given: Delivery, ref: Any, after: Any, pusher: str | None) -> Delivery:
    sha = after if isinstance(after, str) and _SHA.fullmatch(after) and not _NO_COMMIT.fullmatch(after) else None
    named = ref if isinstance(ref, str) and ref.isprintable() and 0 < len(ref) <= _MOST_TEXT else None
    return given.model_copy(update={"ref": named, "after_sha": sha, "pusher": pusher if sha else None})


def _in(payload: Mapping[str, Any], *names: str) -> Any:
    found: Any = payload
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _number(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= _MOST_NUMBER else None


def _id(value: Any) -> str | None:
    """A forge's number of something; Gitea writes 0 and -1 for what is nobody."""
    return str(value) if type(value) is int and value > 0 else None
