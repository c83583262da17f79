"""A vetted playbook: `catalog.yml` and its neighbours, raw → valid.

Refuses unknown keys, a playbook without `hosts: targets`, and everything that could widen a run
(rules S5-S7, S20). `effect` and the quality level are computed from the modules used, never believed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import jsonschema
import promql_parser
from pydantic import Field, ValidationError

from receiver.domain import secrets
from receiver.domain.condition import Condition
from receiver.domain.document import read_mapping
from receiver.domain.lint import check_names, check_tasks, collections_in
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Risk
from receiver.domain.pick import Pick
from receiver.domain.record import Record
from receiver.errors import Invalid

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_EXPECT = re.compile(r"(==|!=|<=|>=|<|>) -?\d+(\.\d+)?", re.ASCII)
#: what a run can keep others away from besides its hosts
_LOCKS = ("host", "node", "guests", "storage", "switch")
_GROUP = re.compile(r"group:[a-z0-9][a-z0-9_.-]{0,60}", re.ASCII)
_TEMPLATE = re.compile(r"\{\{|\{%|\{#|\}\}|%\}")
_FOLDER = re.compile(r"\bplaybooks/([a-z0-9_]+)/([a-z0-9_]+)", re.ASCII)
_NEXT = "gitmedic catalog lint"


class Handle(Record):
    """A rule: which alerts this playbook may answer, and from which facts its parameters come."""

    match: str  #: Alertmanager matcher list, RE2
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    bind: dict[str, str] = {}  #: parameter → which fact: its kind, or more (`domain/pick.py`)


class Targets(Record):
    """Which hosts one run may touch."""

    param: str = "host"
    max_hosts: int = 1
    serial: int = 1


class VerifyQuery(Record):
    """Constant PromQL; matched and compared on the client."""

    id: str
    promql: str
    match: dict[str, str] = {}  #: label → parameter name
    expect: str


class RunLimits(Record):
    """What one run may use; who needs more says so here, where it is reviewed."""

    timeout_seconds: int = Field(120, gt=0)
    memory_mb: int = Field(512, gt=0)
    output_mb: int = Field(20, gt=0)
    processes: int = Field(256, gt=0)
    open_files: int = Field(1024, gt=0)
    file_mb: int = Field(1024, gt=0)  #: the largest single file that it writes on this machine
    scratch_mb: int = Field(256, gt=0)  #: what its own directory may hold


class Playbook(Record):
    """One vetted playbook."""

    id: str  #: `<domain>_<name>`
    path: str  #: folder in the ops repository
    title: str
    use_when: str = ""
    not_when: str = ""
    effect: Literal["read", "change"]
    risk: Risk
    handles: tuple[Handle, ...] = ()
    params: dict[str, Any]  #: JSON Schema 2020-12 object
    targets: Targets = Targets()
    scope: Literal["own", "dependency", "any"] = "own"
    locks: tuple[str, ...] = ("host",)
    credentials: tuple[str, ...] = ()
    not_while: tuple[str, ...] = ()
    capture: tuple[str, ...] = ()
    limits: RunLimits = RunLimits()
    quota: dict[str, Any] | None = None
    reversible: Any = "no"
    verify: tuple[VerifyQuery, ...] = ()
    publish_diff: bool = False
    quality: dict[str, str] = {}
    collections: tuple[str, ...] = ()  #: of the modules used, computed

    @property
    def kinds(self) -> dict[str, str]:
        """Parameter → the kind of thing it names (`x-kind`), for those that name one."""
        properties: dict[str, dict[str, Any]] = self.params.get("properties", {})
        return {name: str(schema["x-kind"]) for name, schema in properties.items() if "x-kind" in schema}

    @property
    def takes_hosts(self) -> bool:
        """Whether its targets are a list of hosts."""
        properties: dict[str, dict[str, Any]] = self.params.get("properties", {})
        return properties.get(self.targets.param, {}).get("type") == "array"

    def fillers(self, param: str) -> tuple[str, ...]:
        """Kinds of facts that may fill a parameter that names a thing: its own, and those that a rule binds to it."""
        bound = [handle.bind[param] for handle in self.handles if param in handle.bind]
        return tuple(dict.fromkeys([self.kinds[param], *bound]))


class Catalog(Record):
    """All vetted playbooks of one revision, and what kept the others out."""

    playbooks: dict[str, Playbook]
    problems: tuple[str, ...] = ()

    def problem_of(self, playbook: str) -> str:
        """What kept this one out, by its id; empty when nothing is known of it."""
        for problem in self.problems:
            folder = _FOLDER.search(problem)
            if folder is not None and "_".join(folder.groups()) == playbook:
                return problem
        return ""


def read_catalog(files: Mapping[str, bytes]) -> Catalog:
    """Every folder `playbooks/<domain>/<name>/`; one that is not vetted is a problem by itself."""
    folders: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        parts = PurePosixPath(path).parts
        if len(parts) >= 4 and parts[0] == "playbooks":
            folders.setdefault("/".join(parts[:3]), {})["/".join(parts[3:])] = content
    playbooks: dict[str, Playbook] = {}
    problems: list[str] = []
    for folder, inside in sorted(folders.items()):
        try:
            playbook = read_playbook(folder, inside)
            playbooks[playbook.id] = playbook
        except Invalid as error:
            problems.append(error.message)
    return Catalog(playbooks=playbooks, problems=tuple(problems))


def read_playbook(path: str, files: Mapping[str, bytes]) -> Playbook:
    """One folder; raises `Invalid` naming the file and the key."""
    where = f"{path}/catalog.yml"
    for name in ("catalog.yml", "playbook.yml"):
        if name not in files:
            raise Invalid(f"{name} is missing", where=path, next_step=_NEXT)
    _, domain, name = PurePosixPath(path).parts
    if not _NAME.fullmatch(domain) or not _NAME.fullmatch(name):
        raise Invalid("folders are named with small letters, digits and underscores", where=path)
    plain = read_mapping(files["catalog.yml"], where=where)
    if plain.pop("schema", None) != 1:
        raise Invalid("schema must be 1", where=where, next_step=_NEXT)
    given = {"id", "path", "collections"} & set(plain)
    if given:
        raise Invalid(f"unknown key {given.pop()!r}", where=where, next_step=_NEXT)
    for key in ("publish_diff",):
        plain[key] = plain.get(key) in (True, "yes")
    try:
        playbook = Playbook.model_validate({**plain, "id": f"{domain}_{name}", "path": path})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise Invalid(f"{key}: {what}", where=where, next_step=_NEXT) from error
    check_names(files)
    secrets.check_names(files, playbook.credentials, path)
    effect = check_tasks(files, where=path)
    if effect != playbook.effect:
        raise Invalid(f"effect: it says {playbook.effect}, its modules say {effect}", where=where, next_step=_NEXT)
    playbook = playbook.model_copy(update={"collections": collections_in(files)})
    _check_schema(playbook, where)
    _check_locks(playbook, where)
    check_handles(playbook, where)
    _check_verify(playbook, where)
    return playbook


def check_params(playbook: Playbook, params: Mapping[str, Any]) -> None:
    """The schema, and no text that could be a template, an option or unseen; else `Invalid` with the name."""
    validator = jsonschema.Draft202012Validator(playbook.params)
    error = next(iter(validator.iter_errors(dict(params))), None)
    if error is not None:
        field = ".".join(str(part) for part in error.path) or "params"
        raise Invalid(
            f"{field}: {error.message[:200]}",
            where=playbook.id,
            next_step=f"gitmedic catalog show {playbook.id}",
        )
    for name, value in params.items():
        _check_value(playbook, name, value)


def _check_value(playbook: Playbook, name: str, value: Any) -> None:
    if isinstance(value, list):
        for one in value:
            _check_value(playbook, name, one)
    elif isinstance(value, str):
        bad = (
            len(value) > 4096
            or _TEMPLATE.search(value)
            or unicodedata.normalize("NFC", value) != value
            or any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") for c in value)
            or (name in playbook.kinds and value[:1] in ("-", "@", "!", ""))
        )
        if bad:
            raise Invalid(f"{name}: {value!r:.80} is not plain text", where=playbook.id)
    elif not isinstance(value, int | bool):
        raise Invalid(f"{name}: {value!r:.80} is neither text nor a whole number", where=playbook.id)


def _check_schema(playbook: Playbook, where: str) -> None:
    schema = playbook.params
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise Invalid("params: an object with `additionalProperties: false` is expected", where=where)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise Invalid(f"params: {error.message[:200]}", where=where) from error
    properties = schema.get("properties", {})
    for name, one in properties.items():
        if not _NAME.fullmatch(name) or name == secrets.RESERVED:
            raise Invalid(f"params: {name!r} is no name for a parameter", where=where)
        if not {"x-kind", "enum", "default"} & set(one):
            raise Invalid(f"params.{name}: say x-kind, enum or default", where=where)
        is_targets = name == playbook.targets.param and one.get("type") == "array"
        if "x-kind" in one and one.get("type") != "string" and not is_targets:
            raise Invalid(f"params.{name}: what names a thing is a string", where=where)
        if is_targets and (one.get("items") or {}).get("type") != "string":
            raise Invalid(f"params.{name}: a list of hosts has `items: {{type: string}}`", where=where)
    _check_targets(playbook, where)
    if properties.get(playbook.targets.param, {}).get("x-kind") != "host":
        raise Invalid(f"targets.param: {playbook.targets.param!r} is no parameter of x-kind host", where=where)


def _check_targets(playbook: Playbook, where: str) -> None:
    """Rule S19: hosts go one by one, each proved before the next; and no machine names several."""
    if playbook.targets.serial < 1 or playbook.targets.max_hosts < 1:
        raise Invalid("targets: max_hosts and serial are numbers from 1", where=where)
    if playbook.takes_hosts and playbook.handles:
        raise Invalid("handles: a playbook for several hosts is only dispatched by a person", where=where)
    if playbook.effect == "change" and playbook.targets.max_hosts > 1 and not playbook.verify:
        raise Invalid("targets.max_hosts: several hosts are each proved before the next: say `verify`", where=where)


def _check_locks(playbook: Playbook, where: str) -> None:
    for lock in playbook.locks:
        if lock not in _LOCKS and not _GROUP.fullmatch(lock):
            raise Invalid(f"locks: {lock!r:.60} is none of {', '.join(_LOCKS)} or group:NAME", where=where)


def check_handles(playbook: Playbook, where: str) -> None:
    """Every matcher, condition and bind of its rules can be read; raises `Invalid` with the place."""
    names = set(playbook.params.get("properties", {}))
    for handle in playbook.handles:
        Matchers.parse(handle.match)
        for text in (*handle.when, *handle.unless):
            Condition.parse(text)
        for text in handle.bind.values():
            Pick.parse(text)
        unknown = set(handle.bind) - names
        if unknown:
            raise Invalid(f"handles.bind: {unknown.pop()!r} is no parameter", where=where)


def _check_verify(playbook: Playbook, where: str) -> None:
    names = set(playbook.params.get("properties", {}))
    for query in playbook.verify:
        try:
            promql_parser.parse(query.promql)
        except ValueError as error:
            raise Invalid(f"verify.{query.id}: {error}", where=where) from error
        if not _EXPECT.fullmatch(query.expect):
            raise Invalid(f"verify.{query.id}: {query.expect!r} is no comparison such as '< 60'", where=where)
        unknown = set(query.match.values()) - names
        if unknown:
            raise Invalid(f"verify.{query.id}: {unknown.pop()!r} is no parameter", where=where)
