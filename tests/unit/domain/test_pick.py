"""Which fact fills a parameter."""

from datetime import UTC, datetime

import pytest

from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.pick import Pick
from receiver.errors import Invalid

ENTITY = Entity(kind="host", name="web1", host="web1", site="home")


def facts(*values: str, kind: str = "node", trusted: bool = True, note: str = "") -> list[Fact]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Fact(id=f"f{n}", kind=kind, value=value, source="x", trusted=trusted, taken_at=at, note=note)
        for n, value in enumerate(values, 1)
    ]


def chosen(text: str, given: list[Fact], **labels: str) -> object:
    found = Pick.parse(text).choose(given, ENTITY, labels)
    return found.value if isinstance(found, Fact) else None


def test_exactly_one_trusted_value() -> None:
    assert chosen("node", facts("pve1")) == "pve1"
    assert chosen("node", facts("pve1", "pve1")) == "pve1"
    assert chosen("node", facts("pve1", "pve2")) is None
    assert chosen("node", facts("pve1", trusted=False)) is None
    assert chosen("node", facts("thin pool 38% used")) is None
    assert chosen("path", facts("/srv/my files", kind="path")) == "/srv/my files"


def test_of_several_the_one_it_is_about_then_the_one_a_label_names() -> None:
    assert chosen("host", facts("web1", "web2", kind="host")) == "web1"
    assert chosen("host", facts("web1", "web2", kind="host"), instance="web2:9100") == "web1"
    assert chosen("node", facts("pve1", "pve2"), instance="pve2:8006") == "pve2"
    assert chosen("node", facts("pve1", "pve2"), instance="evil") is None
    assert chosen("only node", facts("pve1", "pve2"), instance="pve2:8006") is None


def test_other_is_not_what_the_alert_is_about() -> None:
    assert chosen("other node", facts("pve1", "pve2"), instance="pve1:8006") == "pve2"
    assert chosen("other node", facts("pve1"), instance="pve1:8006") is None


def test_a_note_may_rule_a_fact_in_or_out() -> None:
    given = [*facts("145", note="no local devices"), *facts("150", note="gpu passthrough")]
    assert chosen("node unless passthrough|local devices", given) == "145"
    assert chosen("node with passthrough", given) == "150"


@pytest.mark.parametrize("text", ["", "Node", "some node", "node with", "node unless ("])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Pick.parse(text)
