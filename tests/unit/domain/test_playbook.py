"""Vetting: what a catalog entry must say, what a playbook may not do, which values a parameter takes."""

from pathlib import Path

import pytest

from receiver.domain.playbook import check_params, read_catalog, read_playbook
from receiver.errors import Invalid

ROOT = Path(__file__).parents[3]
CATALOG = b"""
schema: 1
title: T
effect: change
risk: low
handles: [{match: 'alertname="A"', when: ['x == 1'], bind: {host: host}}]
params:
  type: object
  additionalProperties: false
  required: [host]
  properties:
    host: {type: string, x-kind: host}
    count: {type: integer, minimum: 1, maximum: 9, default: 1}
    mode: {type: string, enum: [a, b]}
    path: {type: string, x-kind: path}
verify: [{id: up, promql: 'up', match: {host: host}, expect: '== 1'}]
"""
PLAY = """
- name: P
  hosts: targets
  gather_facts: false
  tasks:
    - name: Touch
      ansible.builtin.file: {path: /tmp/x, state: touch}
"""


def files(play: str = PLAY, catalog: bytes = CATALOG, **more: bytes) -> dict[str, bytes]:
    return {"playbook.yml": play.encode(), "catalog.yml": catalog, **more}


def test_every_shipped_playbook_is_vetted() -> None:
    found = {str(p.relative_to(ROOT)): p.read_bytes() for p in (ROOT / "playbooks").rglob("*") if p.is_file()}
    catalog = read_catalog(found)
    assert catalog.problems == ()
    assert {"demo_cache_prune", "demo_web_restart", "demo_wrong_fix", "host_path_cleanup"} <= set(catalog.playbooks)


def test_one_bad_playbook_is_not_in_the_others_way() -> None:
    good = {f"playbooks/a/good/{name}": data for name, data in files().items()}
    bad = {f"playbooks/a/bad/{name}": data for name, data in files(catalog=b"schema: 2").items()}
    catalog = read_catalog(good | bad)
    assert list(catalog.playbooks) == ["a_good"] and len(catalog.problems) == 1
    assert catalog.problem_of("a_bad") == catalog.problems[0] and "schema" in catalog.problems[0]
    assert catalog.problem_of("a_good") == catalog.problem_of("a_b") == ""


TASK = "    - name: X\n      "
HIDDEN = """ansible.builtin.debug: {{msg: "{{{{ x.{0} }}}}"}}
      vars: {{x: {{{0}: "{{{{ lookup('pipe', 'id') }}}}"}}}}
"""


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (PLAY.replace("hosts: targets", "hosts: all"), "must be `targets`"),
        (PLAY.replace("hosts: targets", "hosts: '{{ gm_host }}'"), "must be `targets`"),
        (PLAY.replace("  gather_facts: false", "  connection: local"), "may not say 'connection'"),
        (PLAY.replace("  gather_facts: false", "  vars_prompt: []"), "may not say 'vars_prompt'"),
        (PLAY.replace("  gather_facts: false", "  vars: {ansible_host: x}"), "may not be set"),
        ("- import_playbook: other.yml\n", "must be `targets`"),
        (PLAY + TASK + "ansible.builtin.add_host: {name: x}\n", "nobody approved"),
        (PLAY + TASK + "add_host: {name: x}\n", "nobody approved"),
        (PLAY + TASK + "ansible.builtin.shell: ls\n", "runs a shell"),
        (PLAY + TASK + "ansible.builtin.raw: ls\n", "runs a shell"),
        (PLAY + TASK + "ansible.builtin.script: x.sh\n", "runs a shell"),
        (PLAY + TASK + "ansible.builtin.command: systemctl restart x\n", "takes `argv`"),
        (PLAY + TASK + "copy: {dest: /x}\n", "by its full name"),
        (PLAY + TASK + "ansible.builtin.ping:\n      delegate_to: other\n", "exactly one module"),
        (PLAY + TASK + "ansible.builtin.ping:\n      connection: ssh\n", "exactly one module"),
        (PLAY + TASK + "local_action: ping\n", "by its full name"),
        (PLAY + TASK + "ansible.builtin.ping:\n      vars: {ansible_connection: local}\n", "may not be set"),
        (PLAY + TASK + "ansible.builtin.ping:\n      register: gm_x\n", "are parameters"),
        (PLAY + TASK + "ansible.builtin.set_fact: {gm_host: x}\n", "may not be set"),
        (PLAY + TASK + "ansible.builtin.file: {path: /x}\n      check_mode: false\n", "only on what reads"),
        (PLAY + TASK + "ansible.builtin.uri: {url: x, method: POST}\n      check_mode: false\n", "only on what reads"),
        (PLAY + TASK + "ansible.builtin.ping:\n      check_mode: true\n", "only `false`"),
        (PLAY + TASK + "ansible.builtin.debug: {msg: \"{{ lookup('pipe', 'id') }}\"}\n", "on the controller"),
        # under a word that elsewhere means a list of tasks
        (PLAY + TASK + HIDDEN.format("block"), "on the controller"),
        (PLAY + TASK + HIDDEN.format("handlers"), "on the controller"),
        (PLAY + TASK + "ansible.builtin.debug: {msg: \"{{ query('env', 'X') }}\"}\n", "on the controller"),
        (PLAY + TASK + 'ansible.builtin.include_tasks: "{{ x }}.yml"\n', "plain name"),
        (PLAY + TASK + "ansible.builtin.include_tasks: ../x.yml\n", "plain name"),
        (PLAY + "    - block:\n      - ansible.builtin.shell: ls\n", "runs a shell"),
        ("{}", "list of plays"),
        ("- [", "not YAML"),
        ("- &a {hosts: targets}\n- *a\n", "anchors are not read"),
        ("- !!python/object:os.system {}\n", "tags are not read"),
    ],
)
def test_what_a_playbook_may_not_do(play: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read_playbook("playbooks/a/b", files(play))


@pytest.mark.parametrize(
    "name",
    [
        "collections/x.yml", "library/m.py", "module_utils/u.py", "action_plugins/a.py", "filter_plugins/f.py",
        "callback_plugins/c.py", "ansible.cfg", "roles/x/tasks/main.yml", "inventory", "group_vars/all.yml",
    ],
)  # fmt: skip
def test_what_may_not_lie_beside_a_playbook(name: str) -> None:
    with pytest.raises(Invalid, match="may not lie beside"):
        read_playbook("playbooks/a/b", files(**{name: b""}))


def test_tasks_in_files_are_read_too() -> None:
    with pytest.raises(Invalid, match="runs a shell"):
        read_playbook("playbooks/a/b", files(**{"tasks/more.yml": b"- ansible.builtin.shell: ls\n"}))


def test_the_effect_is_computed() -> None:
    reading = PLAY.replace("ansible.builtin.file: {path: /tmp/x, state: touch}", "ansible.builtin.stat: {path: /x}")
    with pytest.raises(Invalid, match="its modules say read"):
        read_playbook("playbooks/a/b", files(reading))
    with pytest.raises(Invalid, match="its modules say change"):
        read_playbook("playbooks/a/b", files(catalog=CATALOG.replace(b"effect: change", b"effect: read")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"title: T", b"title: T\nsurprise: 1"),
        (b"schema: 1", b"schema: 1\nid: other"),
        (b"risk: low", b"risk: tiny"),
        (b"additionalProperties: false", b"additionalProperties: true"),
        (b"mode: {type: string, enum: [a, b]}", b"mode: {type: string}"),
        (b"host: {type: string, x-kind: host}", b"host: {type: integer, x-kind: host}"),
        (b"x-kind: host", b"x-kind: container"),
        (b"count: {type: integer", b"count: {type: 7"),
        (b'alertname="A"', b"alertname=A"),
        (b"x == 1", b"x is 1"),
        (b"bind: {host: host}", b"bind: {other: host}"),
        (b"promql: 'up'", b"promql: 'up{'"),
        (b"expect: '== 1'", b"expect: 'many'"),
        (b"match: {host: host}", b"match: {host: other}"),
        (b"title: T", b"title: T\ntitle: U"),
        (b"title: T", b'title: "T\\u202e"'),
    ],
)
def test_what_a_catalog_entry_may_not_say(old: bytes, new: bytes) -> None:
    assert old in CATALOG
    if b"u202e" in new:
        read_playbook("playbooks/a/b", files(catalog=CATALOG.replace(old, new)))  # an escape is seen as text
        return
    with pytest.raises(Invalid):
        read_playbook("playbooks/a/b", files(catalog=CATALOG.replace(old, new)))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"host": "a", "other": 1},
        {"host": 7},
        {"host": "a", "count": 0},
        {"host": "a", "count": "1"},
        {"host": "a", "count": 1.5},
        {"host": "a", "mode": "c"},
        {"host": "-x"},
        {"host": "@file"},
        {"host": "!x"},
        {"host": ""},
        {"host": "{{ 1 }}"},
        {"host": "{% if %}"},
        {"host": "a\nb"},
        {"host": "a\u202eb"},
        {"host": "e\u0301"},
        {"host": "a", "path": "x" * 5000},
    ],
)
def test_values_that_no_parameter_takes(params: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        check_params(read_playbook("playbooks/a/b", files()), params)


def test_values_that_parameters_take() -> None:
    check_params(read_playbook("playbooks/a/b", files()), {"host": "a", "count": 3, "mode": "b", "path": "/x y/ü"})
