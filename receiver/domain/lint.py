"""What a vetted playbook may not do, read from its tasks (rules S5, S6, S7, S20).

Everything that could widen a run is refused here: other hosts, other connections, shells, plugins beside the playbook,
lookups on the controller, `check_mode: false` on a task that changes something. What is not on a list is refused
too: a module by its full name, a keyword by its own. `effect` is computed from the modules and never believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

from receiver.domain import secrets
from receiver.domain.collection import collection_of
from receiver.domain.commands import only_looks
from receiver.domain.document import read_yaml, texts_of
from receiver.errors import Invalid

#: what may lie in a playbook's folder; the last three never enter a run
RUN_FILES, RUN_FOLDERS = ("playbook.yml",), ("tasks", "templates", "files", "vars")
OTHER_FILES = ("catalog.yml", "README.md", "drill.yml")
#: what enters a run of a shared role, beside the playbook as `roles/<name>/…`
ROLE_FOLDERS = (*RUN_FOLDERS, "handlers", "defaults", "meta")
_PLAY_KEYS = frozenset(
    {"name", "hosts", "gather_facts", "become", "tasks", "pre_tasks", "post_tasks", "handlers", "vars", "serial",
     "any_errors_fatal", "roles"}
)  # fmt: skip
_TASK_KEYS = frozenset(
    {"name", "when", "loop", "loop_control", "register", "until", "retries", "delay", "changed_when", "failed_when",
     "ignore_errors", "become", "no_log", "notify", "tags", "vars", "check_mode", "environment", "block", "rescue",
     "always", "listen", "args", "any_errors_fatal"}
)  # fmt: skip
#: modules that change nothing
READS = frozenset(
    f"ansible.builtin.{name}"
    for name in (
        "assert", "fail", "debug", "find", "stat", "slurp", "setup", "gather_facts", "ping", "wait_for",
        "package_facts", "service_facts", "getent", "set_fact", "mount_facts", "validate_argument_spec", "pause",
    )
) | {
    "community.docker.docker_container_info", "community.docker.docker_host_info", "community.proxmox.proxmox_vm_info",
}  # fmt: skip
#: modules that never belong into a vetted playbook, and why
_REFUSED = {
    "add_host": "it adds hosts that nobody approved",
    "group_by": "it makes groups that nobody approved",
    "shell": "it runs a shell; use command with argv",
    "raw": "it runs a shell; use command with argv",
    "script": "it runs a shell; use command with argv",
    "expect": "it answers prompts of programs; use command with argv",
    "import_playbook": "it brings other plays along",
    "include_vars": "it reads variables from elsewhere",
    "include_role": "roles are named in the play",
}
_INCLUDES = ("ansible.builtin.include_tasks", "ansible.builtin.import_tasks")
_WITH_TASKS = frozenset({"block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"})
_LOOKUP = re.compile(r"\b(lookup|query|q)\s*\(")
_MODULE = re.compile(r"[a-z_]+\.[a-z_]+\.[a-z0-9_]+", re.ASCII)
#: of a role that is shared, or comes with a collection
_ROLE = re.compile(r"[A-Za-z0-9_-]+|[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+", re.ASCII)
_ROLE_KEYS = frozenset({"role", "vars", "when", "tags", "become"})


def check_names(names: Mapping[str, bytes]) -> None:
    """Only named files and folders; plugins and collections beside a playbook would run code of their own."""
    for name in names:
        top = PurePosixPath(name).parts[0]
        if name not in (*RUN_FILES, *OTHER_FILES) and top not in RUN_FOLDERS:
            raise Invalid(
                f"{name!r} may not lie beside a playbook",
                next_step=f"keep to {', '.join((*RUN_FILES, *RUN_FOLDERS, *OTHER_FILES))}",
            )


def enters_run(name: str) -> bool:
    """Whether a file of a playbook's folder goes into its runs."""
    return name in RUN_FILES or _folder(name) in RUN_FOLDERS


def enters_role(name: str) -> bool:
    """Whether a file of a shared role goes into the runs that use it."""
    return _folder(name) in ROLE_FOLDERS


def check_run_names(names: Iterable[str]) -> None:
    """What enters a run, and nothing else: the playbook, its folders and those of its roles."""
    for name in names:
        top, _, below = name.partition("/")
        enters = enters_run(name) or (top == "roles" and enters_role(below.partition("/")[2]))
        if not enters or ".." in PurePosixPath(name).parts:
            raise Invalid(f"{name!r:.200} may not enter a run", next_step="see docs/howto/write-a-playbook.md")


def _folder(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def check_tasks(files: Mapping[str, bytes], *, where: str) -> Literal["read", "change"]:
    """The effect of a playbook; raises `Invalid` for the first thing that it may not do."""
    plays = read_yaml(files["playbook.yml"], where=f"{where}/playbook.yml")
    if not isinstance(plays, list) or not plays:
        raise Invalid("a list of plays is expected", where=f"{where}/playbook.yml")
    changes = False
    for play in plays:
        _check_play(play, f"{where}/playbook.yml")
        changes |= bool(play.get("roles"))  # what a role does is not read here
        for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            changes |= _check_list(play.get(section), f"{where}/playbook.yml")
    for name, content in files.items():
        if name.startswith("tasks/"):
            changes |= _check_list(read_yaml(content, where=f"{where}/{name}"), f"{where}/{name}")
    return "change" if changes else "read"


def collections_in(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The collections of the modules that a checked playbook uses, but for what comes with ansible-core."""
    plays = read_yaml(files["playbook.yml"], where="playbook.yml")
    lists = [play.get(part) for play in plays for part in ("pre_tasks", "tasks", "post_tasks", "handlers")]
    lists += [read_yaml(content, where=name) for name, content in files.items() if name.startswith("tasks/")]
    names = {collection_of(module) for tasks in lists for module in _modules(tasks)}
    return tuple(sorted(names - {""}))


def _modules(tasks: Any) -> Iterator[str]:
    for task in tasks or ():
        yield from (key for key in task if key not in _TASK_KEYS)
        for part in ("block", "rescue", "always"):
            yield from _modules(task.get(part))


def _check_play(play: Any, where: str) -> None:
    if not isinstance(play, dict):
        raise Invalid("a play is a mapping", where=where)
    if play.get("hosts") != "targets":
        raise Invalid(f"hosts is {play.get('hosts')!r}, and must be `targets`", where=where)
    unknown = sorted(set(play) - _PLAY_KEYS)
    if unknown:
        raise Invalid(f"a play may not say {unknown[0]!r}", where=where)
    _check_variables(play.get("vars"), where)
    _check_roles(play.get("roles"), where)
    secrets.check_play(_own_texts(play), where)
    _check_text(play, where)


def _check_roles(roles: Any, where: str) -> None:
    """Each by its plain name; a parameter of one is a variable like any other."""
    if roles is not None and not isinstance(roles, list):
        raise Invalid("roles: a list of roles is expected", where=where)
    for said in roles or ():
        role = said if isinstance(said, dict) else {"role": said}
        unknown = sorted(map(str, set(role) - _ROLE_KEYS))
        if unknown:
            raise Invalid(f"a role may not say {unknown[0]!r}; what it is given stands in `vars`", where=where)
        if not isinstance(role.get("role"), str) or not _ROLE.fullmatch(role["role"]):
            raise Invalid(f"roles: {role.get('role')!r:.80} is no plain name of a role", where=where)
        _check_variables(role.get("vars"), where)


def _check_list(tasks: Any, where: str) -> bool:
    """Whether any of these tasks changes something."""
    if tasks is None:
        return False
    if not isinstance(tasks, list):
        raise Invalid("a list of tasks is expected", where=where)
    return any([_check_task(task, where) for task in tasks])


def _check_task(task: Any, where: str) -> bool:
    if not isinstance(task, dict):
        raise Invalid("a task is a mapping", where=where)
    place = f"{where}: task {task.get('name')!r:.80}"
    if "block" in task:
        _check_keys(task, place, module=None)
        return any([_check_list(task.get(part), where) for part in ("block", "rescue", "always")])
    modules = [key for key in task if key not in _TASK_KEYS]
    if len(modules) != 1:
        raise Invalid(f"exactly one module is expected, not {modules or 'none'}", where=place)
    module = modules[0]
    _check_module(module, task[module], place)
    _check_keys(task, place, module=module)
    reads = _only_reads(module, task[module], task)
    if task.get("check_mode") is not None and (task["check_mode"] is not False or not reads):
        raise Invalid(f"check_mode on {module}: only `false`, and only on what reads", where=place)
    return not reads


def _check_module(module: str, arguments: Any, place: str) -> None:
    short = module.rpartition(".")[2]
    if short in _REFUSED:
        raise Invalid(f"{module}: {_REFUSED[short]}", where=place)
    if not _MODULE.fullmatch(module):
        raise Invalid(f"{module!r} is no module by its full name, such as ansible.builtin.copy", where=place)
    if short == "command" and not (isinstance(arguments, dict) and isinstance(arguments.get("argv"), list)):
        raise Invalid("command takes `argv`, a list: words are then never split", where=place)
    if module in _INCLUDES:
        said = arguments.get("file") if isinstance(arguments, dict) else arguments
        if not isinstance(said, str) or "{{" in said or not _is_in_tasks(PurePosixPath(said)):
            raise Invalid(f"{module} takes the plain name of a file in tasks/", where=place)


def _check_keys(task: dict[str, Any], place: str, *, module: str | None) -> None:
    for key in ("register",):
        if str(task.get(key, "")).startswith("gm_"):
            raise Invalid(f"register {task[key]!r}: names with gm_ are parameters", where=place)
    unknown = sorted(set(task) - _TASK_KEYS - {module})
    if unknown:
        raise Invalid(f"a task may not say {unknown[0]!r}", where=place)
    _check_variables(task.get("vars"), place)
    if module == "ansible.builtin.set_fact":
        _check_variables(task[module], place)
    secrets.check_reader(task, _own_texts(task), module, place)
    _check_text(task, place)


def _check_variables(variables: Any, place: str) -> None:
    """No connection by the back door, and no parameter overwritten."""
    for name in variables if isinstance(variables, dict) else ():
        if str(name).startswith(("ansible_", "gm_")):
            raise Invalid(f"the variable {name!r} may not be set here", where=place)


def _check_text(value: Any, place: str) -> None:
    for text in _own_texts(value):
        if _LOOKUP.search(secrets.without_reading(text)):
            raise Invalid(f"{text!r:.80}: lookups run on the controller", where=place)


def _own_texts(one: dict[str, Any]) -> Iterator[str]:
    """What a play or a task says itself; the tasks in it are looked at one by one."""
    return texts_of([inner for key, inner in one.items() if key not in _WITH_TASKS])


def _is_in_tasks(path: PurePosixPath) -> bool:
    """In `tasks/`, whose files are read here, or beside the file that names it; nothing elsewhere holds tasks."""
    return not path.is_absolute() and ".." not in path.parts and (len(path.parts) == 1 or path.parts[0] == "tasks")


def _only_reads(module: str, arguments: Any, task: dict[str, Any]) -> bool:
    """What it is given may make a reading module run something: programs of a folder, another search path."""
    if task.get("environment"):
        return False
    if module == "ansible.builtin.setup":
        return not (isinstance(arguments, dict) and "fact_path" in arguments)
    if module == "ansible.builtin.command":
        return not task.get("args") and only_looks(arguments)
    return module in READS or module in _INCLUDES or _is_reading_request(module, arguments)


def _is_reading_request(module: str, arguments: Any) -> bool:
    """A GET that writes no file."""
    if module != "ansible.builtin.uri" or not isinstance(arguments, dict):
        return False
    return str(arguments.get("method", "GET")).upper() in ("GET", "HEAD") and "dest" not in arguments
