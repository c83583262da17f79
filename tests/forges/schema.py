"""Each request and each answer of a double, held against the forge's own description of its API.

Decides which operation a path is (by segments, so that a value may hold anything but a slash) and what its body may
be; unknown fields of a request are violations. Reads OpenAPI 3.0 and Swagger 2.0 and turns them into JSON Schema.
Without the vendor's file a reduced description of the same form, written by hand, is used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_METHODS = ("get", "put", "post", "patch", "delete", "head")
_ROOT = "urn:forge"


def spec_folder() -> Path | None:
    """Where the vendors' files are, if they are: named by GITMEDIC_TEST_SPECS, or `shared/specs` on the way up."""
    named = os.environ.get("GITMEDIC_TEST_SPECS")
    places = [Path(named)] if named else [up / "shared" / "specs" for up in Path(__file__).resolve().parents]
    return next((place for place in places if place.is_dir()), None)


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    template: str
    about: dict[str, Any]


class Spec:
    """A description that was read; keeps what broke it.

    `nulls`: forges written in Go send null for what is absent, and their description does not say so.
    """

    def __init__(self, document: dict[str, Any], *, nulls: bool = False) -> None:
        self._nulls = nulls
        self._document = _json_schema(document)
        self._segments = [([_pattern(one) for one in path.strip("/").split("/")], path) for path in document["paths"]]
        self._close_bodies()
        resource = DRAFT202012.create_resource(self._document)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)
        self._validator = cache(self._make)
        self.violations: list[str] = []

    @classmethod
    def find(
        cls,
        name: str,
        reduced: Mapping[str, Any],
        *,
        nulls: bool = False,
        amend: Callable[[dict[str, Any]], None] = lambda document: None,
    ) -> Spec:
        """The vendor's file of this name when it is there, else the reduced description.

        `amend` mends what is known to be wrong in the vendor's file.
        """
        folder = spec_folder()
        if folder is None or not (folder / name).is_file():
            return cls(json.loads(json.dumps(reduced)), nulls=nulls)
        document = json.loads(_text(folder / name))
        amend(document)
        return cls(document, nulls=nulls)

    def operation(self, method: str, path: str) -> Operation | None:
        """What a request asks for; a literal segment goes before a named one."""
        asked = urlsplit(path).path.strip("/").split("/")
        best: tuple[int, str] | None = None
        for segments, template in self._segments:
            if len(segments) != len(asked) or method.lower() not in self._document["paths"][template]:
                continue
            if all(pattern.fullmatch(part) for pattern, part in zip(segments, asked, strict=True)):
                literal = len(re.sub(r"\{[^}]*\}", "", template))
                best = max(best, (literal, template)) if best else (literal, template)
        if best is None:
            return None
        return Operation(method.lower(), best[1], self._document["paths"][best[1]][method.lower()])

    def check_request(self, method: str, path: str, body: Any) -> None:
        """The query's names and the body of a request; `path` without the prefix of the API."""
        found = self.operation(method, path)
        if found is None:
            self.violations.append(f"{method} {path}: there is no such operation")
            return
        query = {name for name, _ in parse_qsl(urlsplit(path).query, keep_blank_values=True)}
        known = {one.get("name") for one in self._parameters(found) if one.get("in") == "query"}
        for name in sorted(query - known):
            self.violations.append(f"{method} {path}: there is no query parameter {name!r}")
        schema = self._body_of(found)
        if schema is not None and body is not None:
            self._hold(f"{method} {path}: request", schema, body)
        elif body is not None:
            self.violations.append(f"{method} {path}: takes no body")

    def check_answer(self, method: str, path: str, status: int, body: Any) -> None:
        """The status and the body of an answer."""
        found = self.operation(method, path)
        if found is None or status >= 500 or status in (304, 401, 403, 429) or 300 <= status < 400:
            return  # what every operation may answer is not always written down
        answers = found.about["responses"]
        if str(status) not in answers and "default" not in answers:
            self.violations.append(f"{method} {path}: {status} is no answer of it, but {sorted(answers)}")
            return
        pointer = self._pointer(found, "responses", str(status) if str(status) in answers else "default")
        schema = self._schema_below(pointer)
        if schema is not None:
            self._hold(f"{method} {path}: answer {status}", schema, body, nulls=self._nulls)

    # --- inside

    def _pointer(self, found: Operation, *more: str) -> str:
        parts = ("paths", found.template, found.method, *more)
        return "#" + "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)

    def _look(self, pointer: str) -> Any:
        here: Any = self._document
        for part in pointer.removeprefix("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            here = here[int(name)] if isinstance(here, list) else here[name]
            if isinstance(here, dict) and set(here) == {"$ref"}:
                here = self._look(here["$ref"])
        return here

    def _parameters(self, found: Operation) -> list[dict[str, Any]]:
        listed = [*self._document["paths"][found.template].get("parameters", []), *found.about.get("parameters", [])]
        return [self._look(one["$ref"]) if "$ref" in one else one for one in listed]

    def _schema_below(self, pointer: str) -> dict[str, Any] | None:
        """The schema of a response or a request body, of either version of the format."""
        about = self._look(pointer)
        kinds = about.get("content", {})
        json_kind = next((kinds[name] for name in kinds if "json" in name), {})
        found: dict[str, Any] | None = json_kind.get("schema", about.get("schema"))
        return found

    def _body_of(self, found: Operation) -> dict[str, Any] | None:
        if "requestBody" in found.about:
            return self._schema_below(self._pointer(found, "requestBody"))
        bodies = [one["schema"] for one in self._parameters(found) if one.get("in") == "body"]
        return bodies[0] if bodies else None

    def _hold(self, where: str, schema: dict[str, Any], value: Any, *, nulls: bool = False) -> None:
        validator = self._validator(json.dumps(schema, sort_keys=True))
        for error in validator.iter_errors(value):
            if nulls and error.instance is None and error.absolute_path:
                continue
            place = "/".join(str(part) for part in error.absolute_path)
            self.violations.append(f"{where}: {place}: {error.message[:300]}")

    def _make(self, schema: str) -> Draft202012Validator:
        inside = json.loads(schema)
        # references in the description are relative to its root
        return Draft202012Validator(_absolute(inside), registry=self._registry)

    def _close_bodies(self) -> None:
        for template, methods in self._document["paths"].items():
            for method in _METHODS:
                found = methods.get(method)
                if not isinstance(found, dict):
                    continue
                body = found.get("requestBody")
                if body is not None:
                    body = self._look(body["$ref"]) if "$ref" in body else body
                    for kind in body.get("content", {}).values():
                        kind["schema"] = self._closed(kind.get("schema", {}))
                    found["requestBody"] = body
                for one in self._parameters(Operation(method, template, found)):
                    if one.get("in") == "body":
                        one["schema"] = self._closed(one["schema"])

    def _closed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The same, refusing fields that it does not name."""
        seen = self._look(schema["$ref"]) if "$ref" in schema else schema
        closed = dict(seen)
        if "properties" in closed:
            closed["additionalProperties"] = False
        for name in ("oneOf", "anyOf"):
            if name in closed and "properties" not in closed:
                closed[name] = [self._closed(one) for one in closed[name]]
        return closed


def _pattern(segment: str) -> re.Pattern[str]:
    """One segment of a path template, such as `{index}.{kind}`."""
    parts = re.split(r"\{[^}]*\}", segment)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _absolute(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: f"{_ROOT}{value}" if name == "$ref" and str(value).startswith("#") else _absolute(value)
            for name, value in node.items()
        }
    return [_absolute(one) for one in node] if isinstance(node, list) else node


def _json_schema(node: Any, named: bool = False) -> Any:
    """OpenAPI's own words as JSON Schema's; `named`: the keys here are names of things, not words."""
    if isinstance(node, list):
        return [_json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: _json_schema(value, named=not named and name in ("properties", "patternProperties", "paths", "schemas"))
        for name, value in node.items()
        if named or name not in ("example", "examples", "discriminator", "xml", "externalDocs")
    }
    return kept if named else _nullable(kept)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    is_null = schema.pop("nullable", None) is True or schema.pop("x-nullable", None) is True
    for word, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(word), bool):
            exclusive = schema.pop(word)
            if exclusive and limit in schema:
                schema[word] = schema.pop(limit)
    return {"anyOf": [schema, {"type": "null"}]} if is_null else schema
