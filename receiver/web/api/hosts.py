"""The hosts of the inventory by the API: as they are in force, and changes of them as proposals.

Refuses to change anything by itself: a new host waits for people, a removal is a patch for the work tree (rule S4).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from receiver.errors import Refused
from receiver.web.access import DISPATCHES, READS, needs_person, needs_reader, needs_token
from receiver.web.api.described import described
from receiver.web.parts import Parts, Roster

HostName = Annotated[str, Path(description="name of a host in the inventory")]
_HOST = {
    "type": "object", "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "as the inventory is to call it"},
        "address": {"type": "string", "description": "where it answers; empty: its name"},
        "port": {"type": "integer", "description": "of SSH, 22 when not given"},
        "user": {"type": "string", "description": "who logs in"},
        "site": {"type": "string", "description": "where it stands, home when not given"},
        "jump": {"type": "array", "items": {"type": "string"}, "description": "hosts by way of which it is reached"},
        "match": {"type": "array", "items": {"type": "string"}, "description": "matchers of alerts that mean it"},
    },
    "example": {"name": "nas1", "address": "192.0.2.11", "user": "ops"},
}  # fmt: skip


def add_routes(router: APIRouter, parts: Parts) -> None:
    """Everything below /api/hosts."""

    @router.get("/hosts", **described("Hosts", "`items`", scopes=READS))
    async def hosts(request: Request) -> JSONResponse:
        """The hosts of the inventory in force, and how they are reached."""
        await needs_reader(request, parts)
        return _json({"items": await _roster(parts).listed(), "next": None})

    @router.post("/hosts", **described("Hosts", "the proposal", scopes=DISPATCHES, body=_HOST, status=202))
    async def add(request: Request, body: dict[str, Any] = Body()) -> JSONResponse:
        """Propose a new host. It is in force once people accepted it."""
        actor = await _actor(request, parts)
        name = body.pop("name", None)
        if not isinstance(name, str):
            raise Refused("adding a host: expected {name, address, …}", reason="invalid")
        return _json(await _roster(parts).add(name, body, actor=actor), status=202)

    @router.delete("/hosts/{name}", **described("Hosts", "`patch`, for the work tree", scopes=DISPATCHES))
    async def remove(request: Request, name: HostName) -> JSONResponse:
        """The patch that takes a host out of the inventory; nothing is changed."""
        await _actor(request, parts)
        return _json(await _roster(parts).remove(name))


async def _actor(request: Request, parts: Parts) -> str:
    if request.headers.get("authorization"):
        return f"token:{(await needs_token(request, parts, DISPATCHES)).name}"
    return f"user:{(await needs_person(request, parts)).name}"


def _roster(parts: Parts) -> Roster:
    if parts.roster is None:
        raise Refused("the hosts of the inventory are not known here", reason="invalid")
    return parts.roster


def _json(content: Any, *, status: int = 200) -> JSONResponse:
    return JSONResponse(jsonable_encoder(content), status_code=status)
