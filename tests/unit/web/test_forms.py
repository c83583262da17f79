"""A playbook's form: fields from the schema, values back with a word at each field."""

from typing import Any

import pytest

from receiver.domain.inventory import Host, Inventory
from receiver.domain.outcome import Risk
from receiver.domain.playbook import Handle, Playbook
from receiver.web.pages import forms

INVENTORY = Inventory(
    hosts={
        "web1": Host(name="web1", variables={"gitmedic_facts": {"cleanup.path": ["/srv/a", "/srv/b"]}}),
        "web2": Host(name="web2", variables={"gitmedic_facts": {"cleanup.path": "/srv/c"}}),
    }
)
PROPERTIES: dict[str, Any] = {
    "host": {"type": "string", "x-kind": "host"},
    "path": {"type": "string", "x-kind": "path"},
    "keep": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
    "deep": {"type": "boolean", "default": False},
    "age": {"type": "string", "enum": ["1d", "7d"], "default": "7d"},
    "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "default": []},
}
PLAYBOOK = Playbook(
    id="host_clean", path="playbooks/host/clean", title="Clean", effect="change", risk=Risk.LOW,
    handles=(Handle(match='alertname="X"', bind={"path": "cleanup.path"}),),
    params={"type": "object", "additionalProperties": False, "required": ["host", "path"], "properties": PROPERTIES},
)  # fmt: skip
GOOD = {"host": "web1", "path": "/srv/a", "keep": "4", "deep": "on", "age": "1d", "names": "a\n b \n\n", "act": "x"}


def test_each_kind_of_parameter_has_its_input() -> None:
    made = {one.name: one for one in forms.fields(PLAYBOOK, INVENTORY, {}, {"path": "this is needed"})}
    kinds = {name: one.kind for name, one in made.items()}
    assert kinds == {
        "host": "choice", "path": "text", "keep": "number", "deep": "check", "age": "choice", "names": "list"
    }  # fmt: skip
    assert made["host"].choices == ("web1", "web2") and made["host"].value == ""
    assert made["path"].suggestions == ("/srv/a", "/srv/b", "/srv/c")
    assert (made["path"].wrong, made["path"].is_required, made["keep"].is_required) == ("this is needed", True, False)
    assert (made["keep"].value, made["keep"].least, made["keep"].most, made["age"].value) == ("3", 0, 9, "7d")


def test_values_come_back_in_their_types() -> None:
    params, wrong = forms.read(PLAYBOOK, INVENTORY, GOOD)
    assert wrong == {}
    assert params == {"host": "web1", "path": "/srv/a", "keep": 4, "deep": True, "age": "1d", "names": ["a", "b"]}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("host", "gone1", "is no host of the inventory"),
        ("host", "", "this is needed"),
        ("keep", "ten", "a whole number is expected"),
        ("keep", "10", "greater than the maximum"),
        ("age", "2d", "is not one of"),
        ("names", "toolong", "too long"),
        ("path", "{{ lookup('pipe', 'id') }}", "is not plain text"),
        ("path", "-rf", "is not plain text"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(field: str, value: str, said: str) -> None:
    _, wrong = forms.read(PLAYBOOK, INVENTORY, {**GOOD, field: value})
    assert said in wrong[field]
