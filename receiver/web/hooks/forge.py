"""`POST /hooks/{forge}/{repository}`: what the forge says happened. It grants nothing; it says where to look.

Decides in this order: is it a configured repository's own address, is there a secret, is it JSON, is it signed (where
two forges have a repository of the same number, the secret that signed it says which of them it is); only then is it
read, kept once by its id, and whoever waits for it is woken. 202 when it was kept or means nothing here, 200 for the
same again, 503 when the store is away: what is lost so is found by asking the forge. The answer never repeats what was
sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from receiver.domain.delivery import read_hook
from receiver.errors import GitmedicError
from receiver.web.hooks.alertmanager import read_body
from receiver.web.hooks.signed import is_signed, is_usable, may_be_signed
from receiver.web.parts import Hooked, Parts

log = structlog.get_logger()
MAX_BYTES = 25 << 20
#: larger ones are read a few at a time: who sends them is known only when they are here
_SMALL_BYTES = 1 << 20
_MOST_LARGE = 4
_READ_SECONDS = 20.0
_EVENTS = {"github": "x-github-event", "gitea": "x-gitea-event", "gitlab": "x-gitlab-event"}
_IDS = {
    "github": ("x-github-delivery",), "gitea": ("x-gitea-delivery",),
    # the same for each try of one delivery; the other one names the event
    "gitlab": ("webhook-id", "idempotency-key", "x-gitlab-event-uuid"),
}  # fmt: skip
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


def routes(parts: Parts) -> APIRouter:
    """The one path."""
    router = APIRouter()
    large = asyncio.Semaphore(_MOST_LARGE)

    # not among the calls of the API: nobody but a forge can sign one
    @router.post("/hooks/{forge}/{repository}", include_in_schema=False)
    async def hook(request: Request, forge: str, repository: str) -> JSONResponse:
        """One webhook delivery of the forge, signed with the webhook's secret. 200: it came before."""
        hooked = [one for one in parts.hooked if (one.kind, one.repository) == (forge, repository)]
        if not hooked:
            return _answer(404, "no webhook is taken here: its address is the one that gitmedic forge connect prints")
        status, said = await _receive(request, hooked, large)
        hooked[0].counted(said)
        return _answer(status, _WORDS[said]) if status >= 400 else JSONResponse({"done": said}, status_code=status)

    return router


#: what is counted, and for a refusal what it says
_WORDS = {
    "no_secret": "webhooks are refused without a secret: set forge.webhook_secret_file, and the same in the webhook",
    "not_json": "only application/json is taken: choose it as the webhook's content type",
    "unsigned": "it is not signed with the secret in forge.webhook_secret_file",
    "too_large": f"a delivery may have {MAX_BYTES >> 20} MiB",
    "slow": "its body did not arrive in time",
    "unreadable": "its body is no JSON object",
    "not_stored": "not stored: come again",
}


async def _receive(request: Request, hooked: Sequence[Hooked], large: asyncio.Semaphore) -> tuple[int, str]:
    secrets = [(one, _secret(one)) for one in hooked]
    usable = [(one, secret) for one, secret in secrets if is_usable(one.kind, secret)]
    if not usable:
        return 403, "no_secret"
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "not_json"
    signed = [(one, secret) for one, secret in usable if may_be_signed(one.kind, secret, request.headers)]
    if not signed:
        return 403, "unsigned"
    try:
        async with asyncio.timeout(_READ_SECONDS):
            body = await _body(request, large)
    except TimeoutError:
        return 408, "slow"
    if body is None:
        return 413, "too_large"
    for one, secret in signed:
        # beside the loop: 25 MiB take a while
        if await asyncio.to_thread(is_signed, one.kind, secret, request.headers, body, time.time()):
            payload = await asyncio.to_thread(_object, body)
            return (422, "unreadable") if payload is None else await _take(request.headers, one, payload, body)
    return 403, "unsigned"


async def _take(headers: Mapping[str, str], hooked: Hooked, payload: Mapping[str, Any], body: bytes) -> tuple[int, str]:
    delivery = read_hook(hooked.kind, headers.get(_EVENTS[hooked.kind], ""), _id_of(headers, hooked, body), payload)
    if delivery is None:
        return 202, "ignored"
    if delivery.repository != hooked.repository:
        return 202, "other_repository"
    try:
        is_new = await hooked.deliveries.take(delivery.model_copy(update={"repository": hooked.key}))
    except GitmedicError as error:
        log.warning("forge.webhook_not_stored", error=error.message[:200])
        return 503, "not_stored"
    return (202, "taken") if is_new else (200, "again")


async def _body(request: Request, large: asyncio.Semaphore) -> bytes | None:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 8 and int(declared) <= _SMALL_BYTES:
        return await read_body(request, _SMALL_BYTES)
    async with large:
        return await read_body(request, MAX_BYTES)


def _secret(hooked: Hooked) -> str:
    """Read each time, so that a new one counts at once; one that cannot be read is none."""
    try:
        return hooked.secret()
    except GitmedicError as error:
        log.error("forge.webhook_secret", error=error.message[:300])
        return ""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _id_of(headers: Mapping[str, str], hooked: Hooked, body: bytes) -> str:
    """The forge's own; what names itself not at all, or oddly, goes by its content."""
    named = next((headers[name] for name in _IDS[hooked.kind] if headers.get(name)), "")
    return named if _ID.fullmatch(named) else hashlib.sha256(body).hexdigest()


def _answer(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
