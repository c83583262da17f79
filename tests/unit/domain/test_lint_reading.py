"""What counts as only reading: known modules and programs word for word, and nothing that could run something else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from receiver.domain.commands import READING
from receiver.domain.lint import check_tasks
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
