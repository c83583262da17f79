"""Ids in, values out: what an answer means, and every way in which it means nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from receiver.domain.binding import Reply, Unbound, bind
from receiver.domain.candidates import menu
from receiver.domain.plan import Plan
from receiver.domain.playbook import Handle
from receiver.domain.question import Question
from tests.unit.domain.planning import CATALOG, ENTITY, GOOD, fact, kind, playbook, question, reply


def bound(asked: Question | None = None, **changed: Any) -> Plan:
    asked = asked or question()
    return bind(reply(**changed), asked, menu(asked), tier="fast")


def test_a_good_answer_is_bound_to_the_facts_own_values() -> None:
    plan = bound()
    assert (plan.action, plan.playbook, plan.tier) == ("playbook", "docker_restart", "fast")
    assert plan.params == {"host": "web1", "container": "grafana"}
    assert plan.binds == {"host": "f1", "container": "f2"}
    assert plan.evidence == ("f2", "f4") and plan.verify == "docker_restart.running"
    assert [one.playbook for one in plan.candidates if one.chosen] == ["docker_restart"]
    assert {one.playbook for one in plan.candidates} == {one.id for one in CATALOG}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"playbook": "guest_destroy"}, "not offered"),
        ({"playbook": "nonsuch"}, "not offered"),
        ({"playbook": ""}, "not offered"),
        ({"verify": "vector(1)"}, "was not offered"),
        ({"verify": ""}, "was not offered"),
        ({"verify": "host_reboot.up"}, "another playbook"),
        ({"evidence": ["f99"]}, "no fact 'f99'"),
        ({"binds": [{"param": "host", "fact": "f1"}]}, "'container' is not bound"),
        ({"binds": GOOD["binds"] * 2}, "bound twice"),
        ({"binds": [*GOOD["binds"], {"param": "cmd", "fact": "f1"}]}, "no parameter 'cmd'"),
    ],
)
def test_what_was_not_offered_means_nothing(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Unbound) as error:
        bound(**changed)
    assert any(said in reason for reason in error.value.reasons)


@pytest.mark.parametrize(
    ("param", "points_at", "said"),
    [
        ("container", "grafana", "no fact"),
        ("container", "f99", "no fact"),
        ("container", "C:grafana", "no fact"),
        ("container", "f1", "is of kind 'container'"),
        ("container", "f7", "nobody vouches"),
        ("container", "f3", "not what the alert is about"),
        ("host", "f5", "not what the alert is about"),
        ("host", "f6", "not what the alert is about"),
    ],
)
def test_what_a_parameter_does_not_take(param: str, points_at: str, said: str) -> None:
    other = [one for one in GOOD["binds"] if one["param"] != param]
    with pytest.raises(Unbound) as error:
        bound(binds=[*other, {"param": param, "fact": points_at}])
    assert any(said in reason for reason in error.value.reasons)


def host(scope: str, id: str, entity: Any = ENTITY) -> Plan:
    asked = question(catalog=(playbook("a_b", scope=scope),), entity=entity)
    return bound(asked, playbook="a_b", binds=[{"param": "host", "fact": id}], verify="alert")


def test_a_dependency_only_where_the_playbook_says_so() -> None:
    assert host("dependency", "f6").params == {"host": "db1"}
    assert host("dependency", "f5").params == {"host": "pve1"}
    assert host("any", "f5").params == {"host": "pve1"}
    assert host("own", "f5", entity=None).params == {"host": "pve1"}
    with pytest.raises(Unbound):
        host("own", "f6")


def test_a_parameter_takes_the_kinds_that_its_rule_binds_and_is_its_own_all_the_same() -> None:
    rule = Handle(match='alertname="X"', bind={"host": "peer", "path": "cache.path"})
    thing = playbook("a_b", path=kind("path")).model_copy(update={"handles": (rule,)})
    asked = question(
        fact("f1", "peer", "web1"), fact("f2", "peer", "pve1"), fact("f3", "cache.path", "/var/cache"), catalog=(thing,)
    )  # fmt: skip
    common: dict[str, Any] = {"playbook": "a_b", "verify": "alert", "evidence": ["f1"]}
    good = [{"param": "host", "fact": "f1"}, {"param": "path", "fact": "f3"}]
    assert bound(asked, **common, binds=good).params == {"host": "web1", "path": "/var/cache"}
    with pytest.raises(Unbound, match="not what the alert is about"):
        bound(asked, **common, binds=[{"param": "host", "fact": "f2"}, good[1]])


def test_a_choice_is_one_of_the_offered() -> None:
    asked = question(severity="critical")
    common: dict[str, Any] = {"playbook": "docker_prune", "verify": "alert"}
    picked = bound(asked, **common, binds=[{"param": "host", "fact": "f1"}, {"param": "keep", "fact": "C:1d"}])
    assert picked.params == {"host": "web1", "keep": "1d"} and picked.binds == {"host": "f1"}
    assert bound(asked, **common, binds=[{"param": "host", "fact": "f1"}]).params["keep"] == "7d"
    for bad in ("1d", "C:99d", "f1"):
        with pytest.raises(Unbound):
            bound(asked, **common, binds=[{"param": "host", "fact": "f1"}, {"param": "keep", "fact": bad}])


@pytest.mark.parametrize(
    "value", ["{{ lookup('pipe','id') }}", "-o ProxyCommand=x", "@/etc/x", "a\nb", "!x", "a\u202eb"]
)
def test_a_value_that_could_act_is_refused_even_from_a_trusted_fact(value: str) -> None:
    asked = question(
        fact("f1", "host", "web1"), fact("f2", "path", value), catalog=(playbook("a_b", path=kind("path")),)
    )
    with pytest.raises(Unbound) as error:
        bound(
            asked, playbook="a_b", verify="alert", evidence=["f1"],
            binds=[{"param": "host", "fact": "f1"}, {"param": "path", "fact": "f2"}],
        )  # fmt: skip
    assert "is not plain text" in str(error.value)


def test_without_trusted_evidence_the_cap_is_low() -> None:
    asked = question()
    plan = bound(
        asked, playbook="docker_prune", verify="alert", evidence=["f4"], binds=[{"param": "host", "fact": "f1"}]
    )  # fmt: skip
    assert (plan.action, plan.playbook, plan.params) == ("notify", None, {}) and "without a trusted fact" in plan.why
    assert bound(asked, evidence=["f4"]).action == "playbook"  # it is low anyway


def test_nothing_to_do_on_a_critical_alert_is_told() -> None:
    nothing: dict[str, Any] = {"action": "none", "playbook": "", "binds": [], "verify": ""}
    assert bound(**nothing).action == "none"
    assert bound(question(severity="critical"), **nothing).action == "notify"
    over = question(severity="critical")
    over = over.model_copy(update={"alert": over.alert.model_copy(update={"status": "resolved"})})
    assert bound(over, **nothing).action == "none"  # a rule says so too


def test_another_action_takes_no_playbook_along() -> None:
    plan = bound(action="notify")
    assert (plan.action, plan.playbook, plan.params, plan.binds) == ("notify", None, {}, {})


def test_prose_is_cleaned_and_the_number_is_kept() -> None:
    plan = bound(rationale="@all see https://evil.example " + "x " * 900, expected_effect="/approve", confidence=1)
    assert "evil" not in plan.rationale and "@" not in plan.rationale and len(plan.rationale) <= 400
    assert plan.expected_effect == "approve" and plan.confidence == 1.0


@pytest.mark.parametrize(
    "changed",
    [{"action": "shell"}, {"confidence": 2}, {"confidence": "high"}, {"extra": 1}, {"binds": {"host": "f1"}},
     {"binds": [{"param": "host", "fact": "f1", "value": "x"}]}, {"evidence": "f1"}, {"rationale": "x" * 5000}],
    ids=str,
)  # fmt: skip
def test_the_schema_is_closed(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reply(**changed)
    for name in GOOD:
        with pytest.raises(ValidationError):
            Reply.model_validate({key: value for key, value in GOOD.items() if key != name})
