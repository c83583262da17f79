"""A catalog, facts and a question for tests of planning."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from receiver.domain.alert import Alert
from receiver.domain.binding import Reply
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import read_inventory
from receiver.domain.outcome import Risk
from receiver.domain.plan import Offer
from receiver.domain.playbook import Catalog, Playbook
from receiver.domain.policyfile import Policy, Rule
from receiver.domain.question import Question
from receiver.domain.revision import Revision

NOW = datetime(2026, 11, 26, tzinfo=UTC)
HOST = {"type": "string", "x-kind": "host"}
ENTITY = Entity(kind="host", name="web1", host="web1", site="home", node="pve1", depends_on=("db1",))


def playbook(
    id: str, *, risk: Risk = Risk.LOW, scope: str = "own", required: bool = True, **properties: Any
) -> Playbook:
    """A playbook with these parameters beside `host`."""
    every = {"host": HOST, **properties}
    params = {"type": "object", "additionalProperties": False, "properties": every}
    return Playbook.model_validate({
        "id": id, "path": f"playbooks/x/{id}", "title": id.replace("_", " "), "effect": "change", "risk": risk,
        "scope": scope, "params": params | {"required": list(every) if required else ["host"]},
    })  # fmt: skip


def kind(name: str) -> dict[str, Any]:
    return {"type": "string", "x-kind": name}


RESTART = playbook("docker_restart", container=kind("container"))
PRUNE = playbook("docker_prune", risk=Risk.MEDIUM, keep={"type": "string", "enum": ["1d", "7d"], "default": "7d"})
REBOOT = playbook("host_reboot", risk=Risk.HIGH)
DESTROY = playbook("guest_destroy", risk=Risk.CRITICAL)
CATALOG = (RESTART, PRUNE, REBOOT, DESTROY)
OFFERS = (Offer(id="alert"), Offer(id="docker_restart.running"), Offer(id="host_reboot.up"))


def fact(id: str, of: str, value: Any, *, trusted: bool = True, note: str = "") -> Fact:
    return Fact(id=id, kind=of, value=value, source="inventory", trusted=trusted, note=note, taken_at=NOW)


FACTS = (
    fact("f1", "host", "web1"),
    fact("f2", "container", "grafana"),
    fact("f3", "container", "loki"),
    fact("f4", "log", "killed", trusted=False),
    fact("f5", "host", "pve1"),
    fact("f6", "host", "db1"),
    fact("f7", "container", "grafana", trusted=False),
)


def question(
    *facts: Fact, catalog: tuple[Playbook, ...] = CATALOG, severity: str = "warning", entity: Entity | None = ENTITY,
    rules: tuple[Rule, ...] = (), labels: dict[str, str] | None = None, **more: Any,
) -> Question:  # fmt: skip
    alert = Alert(
        source="prom", fingerprint="0" * 16, starts_at=NOW, status=more.pop("status", "firing"),
        labels={"alertname": "ContainerDown", "severity": severity, "name": "grafana", **(labels or {})},
        annotations=more.pop("annotations", {}),
    )  # fmt: skip
    revision = Revision(
        commit="a" * 40, catalog=Catalog(playbooks={one.id: one for one in catalog}), inventory=read_inventory({}),
        policy=Policy(rules=rules), prompts=more.pop("prompts", {}),
    )  # fmt: skip
    return Question(
        case=more.pop("case", "c1"),
        alert=alert,
        entity=entity,
        facts=facts or FACTS,
        revision=revision,
        offers=OFFERS,
        **more,
    )


GOOD: dict[str, Any] = {
    "action": "playbook", "playbook": "docker_restart", "verify": "docker_restart.running", "evidence": ["f2", "f4"],
    "binds": [{"param": "host", "fact": "f1"}, {"param": "container", "fact": "f2"}],
    "rationale": "it was killed", "expected_effect": "it runs", "confidence": 0.9,
}  # fmt: skip


def reply(**changed: Any) -> Reply:
    return Reply.model_validate({**GOOD, **changed})
