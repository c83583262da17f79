"""A catalog without playbooks: ids, words and rules only, in one JSON file, to try planning with.

Decides nothing that runs: what comes out has no files behind it and is never adopted. A file with a bad entry is
refused with the entry's place and the reason.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, ValidationError

from receiver.domain.outcome import Risk
from receiver.domain.playbook import Catalog, Handle, Playbook, Targets, check_handles
from receiver.domain.record import Record
from receiver.errors import Invalid

_MOST_BYTES = 8 << 20


class StubParam(Record):
    """A parameter: the kind of thing it names, or `choice` with its choices."""

    kind: str
    choices: tuple[str, ...] = ()
    default: str | None = None


class Stub(Record):
    """One entry."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,80}$")
    domain: str = ""
    risk: Risk
    title: str
    use_when: str = ""
    not_when: str = ""
    params: dict[str, StubParam]
    handles: tuple[Handle, ...] = ()
    scope: Literal["own", "dependency", "any"] = "dependency"
    destructive: bool = False


def read_stubs(content: bytes, *, where: str) -> Catalog:
    """The catalog of such a file; raises `Invalid` naming the entry."""
    if len(content) > _MOST_BYTES:
        raise Invalid(f"{len(content)} bytes, more than {_MOST_BYTES}", where=where)
    try:
        plain = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {str(error)[:200]}", where=where) from error
    if not isinstance(plain, list):
        raise Invalid("a list of playbooks is expected", where=where)
    playbooks: dict[str, Playbook] = {}
    for position, raw in enumerate(plain):
        place = f"{where}: entry {position}"
        try:
            stub = Stub.model_validate(raw, strict=None)
        except ValidationError as error:
            first = error.errors()[0]
            raise Invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=place) from error
        if stub.id in playbooks:
            raise Invalid(f"{stub.id!r} is there twice", where=place)
        playbooks[stub.id] = _playbook(stub)
        check_handles(playbooks[stub.id], place)
    return Catalog(playbooks=playbooks)


def _playbook(stub: Stub) -> Playbook:
    targets = "host" if "host" in stub.params else next(iter(stub.params), "host")
    return Playbook(
        id=stub.id, path=f"stubs/{stub.id}", title=stub.title, use_when=stub.use_when, not_when=stub.not_when,
        effect="change", risk=stub.risk, handles=stub.handles, targets=Targets(param=targets), scope=stub.scope,
        params={
            "type": "object", "additionalProperties": False, "required": sorted(stub.params),
            "properties": {name: _schema(param) for name, param in stub.params.items()},
        },
    )  # fmt: skip


def _schema(param: StubParam) -> dict[str, Any]:
    if param.kind != "choice":
        return {"type": "string", "x-kind": param.kind}
    default = {"default": param.default} if param.default is not None else {}
    return {"type": "string", "enum": list(param.choices), **default}
