"""What a model may choose from: feasible, within the cap, near by its words."""

from dataclasses import dataclass

import pytest

from receiver.domain.candidates import menu, ranked, words
from receiver.domain.outcome import Risk
from receiver.domain.playbook import Handle
from receiver.domain.policyfile import Rule
from tests.unit.domain.planning import CATALOG, FACTS, fact, kind, playbook, question


def ids(*facts: object, **said: object) -> list[str]:
    return [one.id for one in menu(question(*facts, **said)).offered]  # type: ignore[arg-type]


def test_a_critical_playbook_is_never_offered() -> None:
    for severity in ("info", "warning", "critical"):
        found = menu(question(severity=severity, rules=(Rule(name="all", max_risk=Risk.CRITICAL),)))
        assert "guest_destroy" not in [one.id for one in found.offered]
        assert any(one.playbook == "guest_destroy" and "never" in one.why for one in found.left_out)


def test_the_cap_follows_the_severity_and_the_policy() -> None:
    assert ids(severity="info") == ["docker_restart"]
    assert ids() == ids(severity="critical") == ["docker_prune", "docker_restart"]
    assert ids(rules=(Rule(name="careful", max_risk=Risk.LOW),)) == ["docker_restart"]
    assert "host_reboot" in ids(rules=(Rule(name="signed", playbooks=("host_reboot",), max_risk=Risk.HIGH),))


def test_what_no_trusted_fact_can_fill_is_left_out_with_its_reason() -> None:
    facts = [one for one in FACTS if one.kind != "container"] + [fact("f9", "container", "grafana", trusted=False)]
    found = menu(question(*facts))
    assert [one.id for one in found.offered] == ["docker_prune"]
    (why,) = [one.why for one in found.left_out if one.playbook == "docker_restart"]
    assert "no trusted fact of kind 'container'" in why


def test_a_thing_that_the_alert_is_not_about_makes_nothing_feasible() -> None:
    assert ids(fact("f1", "host", "web2")) == []
    assert ids(fact("f1", "host", "web2"), entity=None) == ["docker_prune"]


def test_no_facts_at_all_offer_nothing() -> None:
    found = menu(question(fact("f1", "unread", "all")))
    assert found.offered == () and len(found.left_out) == len(CATALOG)


@dataclass
class Big:
    """300 playbooks, of which one is about what the alert says."""

    def catalog(self) -> tuple[object, ...]:
        many = [playbook(f"service_{number:03}") for number in range(299)]
        return (*many, playbook("grafana_container_restart"))


@pytest.mark.parametrize("most", [12, 30])
def test_of_many_the_nearest_are_kept(most: int) -> None:
    found = menu(question(catalog=Big().catalog()), most=most)  # type: ignore[arg-type]
    assert len(found.offered) == most and len(found.left_out) == 300 - most
    assert "grafana_container_restart" in [one.id for one in found.offered]
    assert [one.id for one in found.offered] == sorted(one.id for one in found.offered)


def test_a_playbook_whose_rule_speaks_of_the_alert_is_always_near() -> None:
    far = playbook("zz_unlike").model_copy(update={"handles": (Handle(match='alertname="ContainerDown"'),)})
    many = tuple(playbook(f"container_{number:03}") for number in range(40))
    assert "zz_unlike" in ids(catalog=(*many, far))
    assert "zz_unlike" not in ids(catalog=(*many, playbook("zz_unlike")))


def test_names_are_split_into_words() -> None:
    assert words("ContainerDown HTTPServers docker_prune_images") == [
        "container", "down", "http", "server", "docker", "prune", "image",
    ]  # fmt: skip
    asked = question(catalog=(playbook("a_b"), playbook("container_x", c=kind("container"))))
    assert [one.id for one in ranked(asked, asked.catalog.playbooks.values())] == ["container_x", "a_b"]
