"""One host more, one host less: as files, without touching what people wrote beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from receiver.domain.inventory import read_inventory
from receiver.domain.roster import enlisted, patch, struck
from receiver.errors import Conflict, GitmedicError, Invalid

FILES = {
    "inventory/hosts.yml": b"""# ours
all:
  hosts:
    # the gate
    bastion: {ansible_host: 192.0.2.1}
    web1:
      ansible_host: 10.0.0.2
      gitmedic:
        jump: [bastion]   # by way of it

    nas:
      ansible_host: 10.0.0.3
  children:
    old:
      hosts:
        tape: {}
""",
    "inventory/hosts/solo.yml": b"all: {hosts: {solo: {ansible_host: 10.0.0.9}}}\n",
    "inventory/group_vars/old.yml": b"age: 9\n",
}


def test_a_new_host_has_a_file_of_its_own():
    said = {"address": "10.0.0.7", "user": "ops", "port": 2222, "site": "cabin", "jump": ["bastion"]}
    change = enlisted(read_inventory(FILES), "web2", said)
    assert change.path == "inventory/hosts/web2.yml"
    host = read_inventory({**FILES, change.path: change.content or b""}).hosts["web2"]
    assert (host.address, host.user, host.port, host.site, host.jump) == (
        "10.0.0.7",
        "ops",
        2222,
        "cabin",
        ("bastion",),
    )


@pytest.mark.parametrize(
    ("name", "said", "says"),
    [
        ("nas", {}, "already"),
        ("-x", {}, "a host's name has"),
        ("../../x", {}, "a host's name has"),
        ("new", {"address": "$(x)"}, "is not plain"),
        ("new", {"user": "a b"}, "is not plain"),
        ("new", {"port": "{{ x }}"}, "port"),
        ("new", {"jump": ["nowhere"]}, "not in the inventory"),
        ("new", {"jump": ["web1"]}, "write the whole way"),
        ("new", {"ansible_become_exe": "x"}, "'ansible_become_exe' is not one of"),
    ],
)
def test_a_host_that_the_inventory_would_not_take_is_refused(name, said, says):
    with pytest.raises(GitmedicError, match=says):
        enlisted(read_inventory(FILES), name, said)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("address", 7, "text"), ("address", {"a": 1}, "text"), ("port", "22", "a whole number"),
        ("port", True, "a whole number"), ("user", ["ops"], "text"), ("site", 1.5, "text"),
        ("jump", "bastion", "a list of texts"), ("jump", 3, "a list of texts"), ("match", [1], "a list of texts"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_host_is_of_its_kind(key: str, value: object, kind: str):
    with pytest.raises(Invalid, match=f"adding host 'new': {key} is .*, and must be {kind}") as caught:
        enlisted(read_inventory(FILES), "new", {key: value})
    assert caught.value.next_step
    assert enlisted(read_inventory(FILES), "new", {key: None}).content


def test_what_people_write_for_each_other_is_in_nobodys_way():
    more = {"inventory/README.md": b"# Hosts\n\n- [ ] *nas*: `ask\tada`\n", "inventory/.notes": b"\xff"}
    assert struck({**FILES, **more}, "nas") == struck(FILES, "nas")


@pytest.mark.parametrize("name", ["web1", "nas", "tape", "solo"])
def test_a_host_is_taken_out_by_its_own_lines(tmp_path: Path, name: str):
    change = struck(FILES, name)
    after = {path: content for path, content in FILES.items() if path != change.path}
    after |= {change.path: change.content} if change.content is not None else {}
    assert set(read_inventory(after).hosts) == {"bastion", "web1", "nas", "tape", "solo"} - {name}
    assert name == "solo" or b"# the gate" in after["inventory/hosts.yml"]
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch(FILES, change).encode(), check=True)
    found = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.yml")}
    assert found == after


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("bastion", {}, "web1 is reached by way of it"),
        ("absent", {}, "not in the inventory"),
        (
            "nas",
            {"inventory/more.yml": b"all: {children: {g: {hosts: {nas: {}}}}}"},
            "in inventory/hosts.yml and",
        ),
        ("one", {"inventory/more.yml": b"all: {hosts: {one: {}, two: {}}}"}, "by hand|other hosts|stands in"),
    ],
)
def test_what_a_person_must_do_is_left_to_them(name, more, says):
    with pytest.raises(GitmedicError, match=says):
        struck({**FILES, **more}, name)


def test_a_file_that_is_there_is_not_written_over():
    with pytest.raises(Conflict):
        enlisted(read_inventory(FILES), "solo", {})
