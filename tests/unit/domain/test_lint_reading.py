"""What counts as only reading: known modules and programs word for word, and nothing that could run something else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from receiver.domain.commands import READING
from receiver.domain.lint import check_run_names, check_tasks
from receiver.errors import Invalid


def effect(*tasks: dict[str, Any], **files: bytes) -> str:
    play = [{"hosts": "targets", "gather_facts": False, "tasks": list(tasks)}]
    return check_tasks({"playbook.yml": yaml.safe_dump(play).encode(), **files}, where="playbooks/a/b")


def command(*argv: Any, **more: Any) -> dict[str, Any]:
    return {"name": "run", "ansible.builtin.command": {"argv": list(argv), **more}}


@pytest.mark.parametrize("argv", sorted(READING), ids=lambda argv: argv[0])
def test_a_command_reads_only_word_for_word(argv: tuple[str, ...]) -> None:
    assert effect(command(*argv)) == "read"
    for other in (
        (*argv, "x"),
        argv[:-1],
        (argv[0], "{{ gm_x }}", *argv[2:]),
        (f"/tmp/{argv[0]}", *argv[1:]),
        (*argv, 1),
    ):
        assert effect(command(*other)) == "change", other
    for more in ({"chdir": "/tmp"}, {"stdin": "x"}, {"creates": "/x"}):
        assert effect(command(*argv, **more)) == "change", more
    assert effect({**command(*argv), "args": {"chdir": "/tmp"}}) == "change"


def test_what_could_run_something_else_does_not_only_read() -> None:
    setup = {"name": "look", "ansible.builtin.setup": {"gather_subset": ["!all"]}}
    assert effect(setup) == "read"
    assert effect({**setup, "environment": {"PATH": "/tmp"}}) == "change"
    assert effect({"name": "look", "ansible.builtin.setup": {"fact_path": "/tmp"}}) == "change"
    assert effect({**command(*sorted(READING)[0]), "environment": {"PATH": "/tmp"}}) == "change"
    assert effect({"block": [{"name": "look", "ansible.builtin.stat": {"path": "/"}}]}) == "read"


def test_tasks_lie_only_where_they_are_read() -> None:
    stat = yaml.safe_dump([{"name": "look", "ansible.builtin.stat": {"path": "/"}}]).encode()
    for said in ("tasks/more.yml", "more.yml"):
        include = {"name": "more", "ansible.builtin.include_tasks": said}
        assert effect(include, **{"tasks/more.yml": stat}) == "read"
    for said in ("files/more.yml", "templates/more.yml", "vars/more.yml", "/etc/more.yml", "tasks/../files/more.yml"):
        with pytest.raises(Invalid, match="in tasks/"):
            effect({"name": "more", "ansible.builtin.import_tasks": {"file": said}})


def play(**more: Any) -> str:
    look = [{"name": "look", "ansible.builtin.stat": {"path": "/"}}]
    said = [{"hosts": "targets", "gather_facts": False, "tasks": look, **more}]
    return check_tasks({"playbook.yml": yaml.safe_dump(said).encode()}, where="playbooks/a/b")


def test_what_a_role_does_is_not_read_so_it_is_a_change() -> None:
    assert play() == play(roles=[]) == "read"
    for role in ("base", "some.thing.base", {"role": "base", "vars": {"x": 1}, "when": "y", "tags": ["z"]}):
        assert play(roles=[role]) == "change", role
    task = {"name": "more", "ansible.builtin.import_role": {"name": "base"}}
    assert effect(task) == "change"


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ("base", "a list of roles"),
        (["../../elsewhere"], "no plain name"),
        (["{{ gm_role }}"], "no plain name"),
        ([{"vars": {}}], "no plain name"),
        ([7], "no plain name"),
        ([{"role": "base", "ansible_connection": "local"}], "may not say 'ansible_connection'"),
        ([{"role": "base", "vars": {"ansible_host": "x"}}], "may not be set"),
        ([{"role": "base", "delegate_to": "x"}], "may not say 'delegate_to'"),
    ],
)
def test_a_role_by_its_plain_name_and_no_connection_by_its_parameters(roles: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        play(roles=roles)


def test_what_enters_a_run_is_the_playbook_and_its_roles() -> None:
    check_run_names(["playbook.yml", "tasks/a.yml", "files/library/x", "roles/b/tasks/main.yml", "roles/b/meta/m.yml"])
    for name in (
        "catalog.yml", "tasks", "library/x.py", "ansible.cfg", "roles/base/library/x.py", "roles/base/main.yml",
        "roles/library/x.py", "roles/base/filter_plugins/f.py", "tasks/../library/x.py",
        "roles/a/tasks/../library/x.py",
    ):  # fmt: skip
        with pytest.raises(Invalid, match="may not enter a run"):
            check_run_names([name])
