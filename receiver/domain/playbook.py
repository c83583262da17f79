"""A vetted playbook: `catalog.yml` and its neighbours, raw → valid.

Refuses unknown keys, a playbook without `hosts: targets`, and everything that could widen a run
(rules S5-S7, S20). `effect` and the quality level are computed from the modules used, never believed.
"""

from __future__ import annotations

from typing import Any, Literal

from receiver.domain.outcome import Risk
from receiver.domain.record import Record


class Handle(Record):
    """A rule: which alerts this playbook may answer, and from which facts its parameters come."""

    match: str  #: Alertmanager matcher list, RE2
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    bind: dict[str, str] = {}  #: parameter → fact kind


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
    """What one run may use."""

    timeout_seconds: int = 120
    memory_mb: int = 512
    output_mb: int = 20


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

    @property
    def kinds(self) -> dict[str, str]:
        """Parameter → the kind of thing it names (`x-kind`), for those that name one."""
        properties: dict[str, dict[str, Any]] = self.params.get("properties", {})
        return {name: str(schema["x-kind"]) for name, schema in properties.items() if "x-kind" in schema}


class Catalog(Record):
    """All vetted playbooks of one revision, and what kept the others out."""

    playbooks: dict[str, Playbook]
    problems: tuple[str, ...] = ()
