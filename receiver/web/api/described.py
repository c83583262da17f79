"""What each call says of itself beside its docstring: who may call it, what may be asked, what comes back.

The scopes given here are the same values that the calls themselves check, so the description cannot promise another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Path
from pydantic import BaseModel

from receiver.web.access import COOKIE

TOKEN, SESSION = "token", "session"
CaseId = Annotated[str, Path(description="id of a case")]
RunId = Annotated[str, Path(description="id of a run")]
PlaybookId = Annotated[str, Path(description="id of a playbook in the catalog")]
SourceName = Annotated[str, Path(description="name of a source in gitmedic.toml")]
_SCHEMES = {
    TOKEN: {"type": "http", "scheme": "bearer", "description": "made by `gitmedic token create`"},
    SESSION: {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "a browser's, by `gitmedic link`"},
}


class Error(BaseModel):
    """What was not done, what to do next, and a word for programs."""

    error: str
    next_step: str = ""
    reason: str = ""


class Described(FastAPI):
    """FastAPI whose description also says how a caller proves who it is."""

    def openapi(self) -> dict[str, Any]:
        """The whole description."""
        description = super().openapi()
        description.setdefault("components", {})["securitySchemes"] = _SCHEMES
        return description


def described(
    group: str,
    answer: str,
    *,
    scopes: Sequence[str] = (),
    has_session: bool = True,
    asks: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    status: int = 200,
) -> dict[str, Any]:
    """Arguments for the decorator of a call.

    `scopes`: a token of any of them may call; `has_session`: so may a person's browser. `asks`: name of a query
    parameter → what it means. `body`: a JSON Schema with an `example` in it.
    """
    may: list[dict[str, list[str]]] = [{TOKEN: [scope]} for scope in scopes]
    extra: dict[str, Any] = {"security": [*may, {SESSION: []}] if has_session else may}
    if asks:
        extra["parameters"] = [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in asks.items()
        ]
    if body:
        schema = {key: value for key, value in body.items() if key != "example"}
        content = {"schema": schema, "example": body["example"]}
        extra["requestBody"] = {"required": "required" in schema, "content": {"application/json": content}}
    return {
        "tags": [group],
        "status_code": status,
        "response_description": answer,
        "responses": {
            "4XX": {"model": Error, "description": "somebody must act; `next_step` says who and how"},
            "500": {"model": Error, "description": "a bug of gitmedic"},
            "503": {"model": Error, "description": "try again later"},
        },
        "openapi_extra": extra,
    }
