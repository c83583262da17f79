"""Each row of the guard's table says no to exactly what it is for."""

from typing import Any

import pytest

from receiver.domain.entity import Entity
from receiver.domain.inventory import read_inventory
from receiver.domain.outcome import Mode, Risk
from receiver.domain.plan import Plan
from receiver.domain.playbook import read_catalog
from receiver.domain.policy import GUARD, Proposed
from receiver.domain.policyfile import read_policy
from receiver.domain.proof import Confirmation
from receiver.domain.revision import Revision
from receiver.domain.table import answer_all
from tests.unit.test_pipeline import FILES, INVENTORY, POLICY, alert

CATALOG = read_catalog({name: data for name, data in FILES.items() if name.startswith("playbooks/")})
PLAYBOOK = CATALOG.playbooks["web_restart"]
REVISION = Revision(
    commit="c" * 40,
    catalog=CATALOG,
    inventory=read_inventory({"inventory/hosts.yml": INVENTORY}),
    policy=read_policy(POLICY),
)
PLAN = Plan(action="playbook", playbook="web_restart", params={"host": "web1", "service": "web"}, why="w")
GOOD = Proposed(
    alert=alert(),
    entity=Entity(kind="host", name="web1", host="web1", site="home"),
    unresolved="",
    confirmation=Confirmation(confirmed=True, why="listed"),
    mode=Mode.PROPOSE,
    plan=PLAN,
    requested_by="system",
    revision=REVISION,
)


def changed(**change: Any) -> Proposed:
    return GOOD.model_copy(update=change)


def with_playbook(**change: Any) -> Proposed:
    playbook = PLAYBOOK.model_copy(update=change)
    catalog = CATALOG.model_copy(update={"playbooks": {"web_restart": playbook}})
    return changed(revision=REVISION.model_copy(update={"catalog": catalog}))


def with_params(**params: Any) -> Proposed:
    return changed(plan=PLAN.model_copy(update={"params": params}))


def with_policy(text: bytes, **change: Any) -> Proposed:
    return changed(revision=REVISION.model_copy(update={"policy": read_policy(POLICY + text)}), **change)


def noes(seen: Proposed) -> list[str]:
    return [answer.name for answer in answer_all(GUARD, seen) if answer.passed is False]


def dispatched(by: str, **change: Any) -> Proposed:
    return changed(alert=None, entity=None, confirmation=None, requested_by=by, **change)


def managed() -> Proposed:
    text = INVENTORY.replace(b"{site: home, match: ['instance=\"web1\"']}", b"{managed_by: ArgoCD}")
    return changed(revision=REVISION.model_copy(update={"inventory": read_inventory({"inventory/hosts.yml": text})}))


def apart() -> Proposed:
    text = INVENTORY.replace(b"{site: home, match: ['instance=\"web1\"']}", b"{site: lab}")
    seen = with_playbook(targets=PLAYBOOK.targets.model_copy(update={"max_hosts": 2}), scope="any")
    inventory = read_inventory({"inventory/hosts.yml": text})
    plan = PLAN.model_copy(update={"params": {"host": ["web1", "web2"], "service": "web"}})
    return seen.model_copy(update={"plan": plan, "revision": seen.revision.model_copy(update={"inventory": inventory})})


def _riskier(policy: bytes) -> Proposed:
    seen = with_playbook(risk=Risk.MEDIUM)
    return seen.model_copy(
        update={"revision": seen.revision.model_copy(update={"policy": read_policy(POLICY + policy)})}
    )


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        (GOOD, []),
        (with_policy(b"rules: [{name: careful, max_risk: low}]\n"), []),
        (_riskier(b"rules: [{name: careful, max_risk: low}]\n"), ["risk"]),
        (changed(plan=PLAN.model_copy(update={"playbook": "no_such"})), ["vetted", "risk"]),
        (with_playbook(risk=Risk.CRITICAL), ["risk"]),
        (changed(entity=None, unresolved="two match"), ["entity"]),
        (changed(confirmation=None), ["confirmed"]),
        (changed(confirmation=Confirmation(confirmed=False, why="not listed")), ["confirmed"]),
        (with_params(host="web2", service="web"), ["own_entity"]),
        (with_params(host="web1", service="other"), ["params"]),
        (with_params(host="{{ x }}", service="web"), ["own_entity", "params", "targets"]),
        (with_params(service="web"), ["params", "targets"]),
        (managed(), ["managed"]),
        (apart(), ["params", "one_site"]),
        (changed(mode=Mode.OBSERVE), ["mode"]),
        (with_policy(b"rules: [{name: x, match: 'alertname=\"WebDown\"', autonomy: observe}]\n"), ["mode"]),
        (dispatched("user:anna"), []),
        (dispatched("os:anna"), []),
        (dispatched("token:ci"), []),
        (dispatched("user:guest"), ["risk"]),
        (dispatched("user:nobody"), ["risk"]),
        (dispatched("system"), ["risk"]),
    ],
)
def test_each_row_says_no_to_what_it_is_for(seen: Proposed, names: list[str]) -> None:
    assert noes(seen) == names


def test_a_dependency_only_where_the_playbook_says_so() -> None:
    entity = Entity(kind="guest", name="web2", host="web2", site="home", node="web1")
    own = changed(entity=entity)
    assert noes(own) == ["own_entity"]
    dependency = with_playbook(scope="dependency").model_copy(update={"entity": entity})
    assert noes(dependency) == []
    stranger = dependency.model_copy(update={"entity": entity.model_copy(update={"node": None})})
    assert noes(stranger) == ["own_entity"]
