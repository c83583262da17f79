"""The API, told to people: the description of `/openapi.json` as a page, each call with a line for a shell.

Nothing is said here that the description does not say.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from receiver.web.access import COOKIE, needs_viewer
from receiver.web.api.described import SESSION, TOKEN
from receiver.web.pages.render import page
from receiver.web.parts import Parts


def routes(parts: Parts) -> APIRouter:
    """/docs."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        """Every call, in groups."""
        await needs_viewer(request, parts)
        description = request.app.openapi()
        return page(request, "docs.html", here="api", groups=told(description, parts.url), errors=errors(description))

    return router


def told(description: Mapping[str, Any], url: str) -> dict[str, list[dict[str, Any]]]:
    """Group → its calls, in the order of the description."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            content = call.get("requestBody", {}).get("content", {}).get("application/json", {})
            told = {
                "method": method.upper(),
                "path": path,
                "id": call["operationId"],
                "text": call["description"],
                "scopes": [scope for one in call["security"] for scope in one.get(TOKEN, ())],
                "has_session": any(SESSION in one for one in call["security"]),
                "parameters": [_parameter(one) for one in call.get("parameters", ())] + _fields(content),
                "answers": _answers(call, good=True),
                "curl": _curl(method.upper(), url + path, call["security"], content.get("example")),
            }
            groups.setdefault(call["tags"][0], []).append(told)
    return groups


def errors(description: Mapping[str, Any]) -> dict[str, str]:
    """Status → meaning of everything that any call may answer instead."""
    calls = [call for methods in description["paths"].values() for call in methods.values()]
    return {status: text for call in calls for status, text in _answers(call, good=False).items()}


def _answers(call: Mapping[str, Any], *, good: bool) -> dict[str, str]:
    return {status: one["description"] for status, one in call["responses"].items() if status.startswith("2") == good}


def _parameter(one: Mapping[str, Any]) -> dict[str, Any]:
    place = {"path": "in the path", "query": "in the query"}[one["in"]]
    return {"name": one["name"], "place": place, "is_required": one["required"], "text": one["description"]}


def _fields(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    schema = content.get("schema", {})
    return [
        {"name": name, "place": f"{one['type']} in the body", "is_required": name in schema.get("required", ()),
         "text": one["description"]}
        for name, one in schema.get("properties", {}).items()
    ]  # fmt: skip


def _curl(method: str, url: str, may: Iterable[Mapping[str, Any]], example: Any) -> str:
    """A line that works once its variables are set; a session must also say which page it comes from."""
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    if any(TOKEN in one for one in may):
        words += ["-H", '"Authorization: Bearer $TOKEN"']
    else:
        words += ["-b", f'"{COOKIE}=$SESSION"', "-H", f'"Origin: {"/".join(url.split("/")[:3])}"']
    if example is not None:
        words += ["-H", "'Content-Type: application/json'", "-d", shlex.quote(json.dumps(example))]
    variable = re.sub(r"\{(\w+)\}", lambda match: f"${match[1].upper()}", url)
    return " ".join([*words, f'"{variable}"'])
