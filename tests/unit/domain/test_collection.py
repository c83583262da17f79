"""`collections.lock`: what is read, what a playbook needs of it, and what is refused."""

from __future__ import annotations

import pytest

from receiver.domain.collection import (
    Collection,
    Collections,
    collection_of,
    digest_of,
    read_collections,
    write_collections,
)
from receiver.domain.lint import collections_in
from receiver.domain.playbook import read_playbook
from receiver.errors import Invalid, Refused

DIGEST = "a" * 64
LOCK = Collections(
    collections={
        "community.docker": Collection(version="4.8.5", sha256=DIGEST, needs=("community.library",)),
        "community.library": Collection(version="1.1.5", sha256="b" * 64),
        "other.one": Collection(version="1", sha256=DIGEST),
    }
)
PLAY = b"""
- hosts: targets
  tasks:
    - ansible.builtin.debug: {msg: "netbox.netbox.text is no module here"}
    - block:
        - community.docker.docker_container: {name: x}
      rescue:
        - other.one.thing: {}
"""
CATALOG = b"""
schema: 1
title: T
effect: change
risk: low
params: {type: object, additionalProperties: false, properties: {host: {type: string, x-kind: host}}}
"""


def test_what_is_written_is_read() -> None:
    assert read_collections(write_collections(LOCK)) == LOCK
    assert read_collections(None) == read_collections(b"{}\n") == Collections()


def test_dependencies_come_along() -> None:
    assert [one.name for one in LOCK.needed(["community.docker", "ansible.builtin"])] == [
        "community.docker", "community.library",
    ]  # fmt: skip


def test_what_is_not_pinned_is_refused() -> None:
    with pytest.raises(Refused, match=r"'community\.proxmox'") as refused:
        LOCK.needed(["community.proxmox"])
    assert refused.value.reason == "collection" and "catalog lock" in refused.value.next_step


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"schema: 2\ncollections: {}\n", "schema"),
        (b"schema: 1\ncollections: {a.b: {version: '1', sha256: short}}\n", "sha256"),
        (b"schema: 1\ncollections: {../b: {version: '1', sha256: " + b"a" * 64 + b"}}\n", "no name"),
        (b"schema: 1\ncollections: {ansible.builtin: {version: '1', sha256: " + b"a" * 64 + b"}}\n", "no name"),
        (b"schema: 1\ncollections: {a.b: {version: '1', sha256: " + b"a" * 64 + b", needs: [c.d]}}\n", "c.d"),
        (b"schema: 1\nmore: 1\n", "more"),
    ],
)
def test_a_lock_that_says_something_else_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read_collections(text)


def test_the_digest_counts_every_path_and_byte() -> None:
    files = {"plugins/modules/a.py": b"a", "meta/runtime.yml": b"b"}
    assert digest_of(files) == digest_of(dict(reversed(files.items())))
    others = [files | {"c": b""}, files | {"meta/runtime.yml": b"c"}, {"plugins/modules/b.py": b"a", "d": b"b"}]
    assert digest_of(files) not in map(digest_of, others)


def test_the_collections_of_a_playbook_are_those_of_its_modules() -> None:
    files = {"playbook.yml": PLAY, "tasks/more.yml": b"- third.one.thing: {}\n", "catalog.yml": CATALOG}
    assert collections_in(files) == ("community.docker", "other.one", "third.one")
    assert read_playbook("playbooks/a/b", files).collections == ("community.docker", "other.one", "third.one")
    assert collection_of("ansible.builtin.copy") == collection_of("copy") == ""


def test_a_playbook_does_not_say_itself_which_collections_it_uses() -> None:
    with pytest.raises(Invalid, match="collections"):
        read_playbook("playbooks/a/b", {"playbook.yml": PLAY, "catalog.yml": CATALOG + b"collections: []\n"})


def test_a_role_that_speaks_of_a_collection_brings_it() -> None:
    assert LOCK.named_in([b"- other.one.thing: {}\n", b"x"]) == {"other.one"}


@pytest.mark.parametrize(
    ("said", "reads"),
    [("show bgp neighbors json", True), ("show bgp neighbors {{ gm_host }} json", False), ("clear bgp *", False)],
)
def test_a_router_is_asked_in_a_dry_run_too(said: str, reads: bool) -> None:
    task = f"    - ansible.builtin.command: {{argv: [vtysh, -c, '{said}']}}\n      check_mode: false\n"
    files = {"catalog.yml": CATALOG.replace(b"effect: change", b"effect: read")}
    files["playbook.yml"] = f"- hosts: targets\n  tasks:\n{task}".encode()
    if reads:
        assert read_playbook("playbooks/a/b", files).effect == "read"
    else:
        with pytest.raises(Invalid, match="check_mode"):
            read_playbook("playbooks/a/b", files)
