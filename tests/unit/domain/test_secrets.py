"""How a playbook may read its secrets: hidden, by the one lookup, and only those that it asks for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from receiver.domain.playbook import read_playbook
from receiver.errors import Invalid

READ = "{{ lookup('file', gm_secret_dir ~ '/proxmox') }}"
CATALOG = """
schema: 1
title: Test
effect: change
risk: low
credentials: [proxmox]
params: {type: object, additionalProperties: false, required: [host], properties: {host: {type: string, x-kind: host}}}
"""


def task(**more: Any) -> dict[str, Any]:
    return {
        "name": "Ask",
        "ansible.builtin.uri": {"url": "https://x", "headers": {"A": READ}, "method": "POST"},
        "no_log": True,
        **more,
    }


def play(*tasks: dict[str, Any], **more: Any) -> bytes:
    return yaml.safe_dump([{"name": "T", "hosts": "targets", "tasks": list(tasks), **more}]).encode()


def read(playbook: bytes, catalog: str = CATALOG, **files: bytes) -> None:
    read_playbook("playbooks/a/b", {"catalog.yml": catalog.encode(), "playbook.yml": playbook, **files})


@pytest.mark.parametrize(
    "form", [READ, '{{ lookup("ansible.builtin.file", gm_secret_dir ~ "/proxmox") }}', "{{ gm_secret_dir }}/proxmox"]
)
def test_a_hidden_task_may_read_what_was_asked_for(form: str) -> None:
    read(play(task(**{"ansible.builtin.uri": {"url": "https://x", "headers": {"A": form}, "method": "POST"}})))


@pytest.mark.parametrize(
    ("playbook", "says"),
    [
        (play(task(no_log=False)), "must say `no_log: true`"),
        (play({key: one for key, one in task().items() if key != "no_log"}), "must say `no_log: true`"),
        (play(task(no_log="{{ quiet }}")), "must say `no_log: true`"),
        (play(task(), vars={"x": READ}), "not in the variables of a play"),
        (play({"block": [task()], "vars": {"x": READ}, "no_log": True}), "not in the variables of a block"),
        (play({"name": "F", "ansible.builtin.set_fact": {"x": READ}, "no_log": True}), "carry the secret"),
        (play(task(vars={"x": "{{ lookup('file', gm_secret_dir ~ '/other') }}"})), "'other', which `credentials`"),
        (play(task(vars={"x": "{{ lookup('file', gm_secret_dir ~ '/' ~ name) }}"})), "say which"),
        (play(task(vars={"x": "{{ lookup('pipe', 'ls ' ~ gm_secret_dir ~ '/proxmox') }}"})), "lookups run"),
        (play(task(vars={"x": "{{ lookup('file', gm_secret_dir ~ '/proxmox/../../x') }}"})), "say which|lookups run"),
        (play(task(vars={"x": "{{ lookup('file', '/etc/passwd') }}"})), "lookups run"),
    ],
)
def test_anything_else_is_refused(playbook: bytes, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        read(playbook)


def test_a_template_never_names_the_folder() -> None:
    with pytest.raises(Invalid, match="read in tasks"):
        read(play(task()), **{"templates/x.j2": READ.encode()})


def test_no_parameter_becomes_the_folder() -> None:
    named = CATALOG.replace("properties: {", "properties: {secret_dir: {type: string, enum: [x]}, ")
    with pytest.raises(Invalid, match="no name for a parameter"):
        read(play(task()), named)
