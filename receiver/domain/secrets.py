"""How a playbook may read what it was given in secret: the files in `gm_secret_dir`, and nowhere else.

    password: "{{ lookup('file', gm_secret_dir ~ '/proxmox') }}"     # in a task that says no_log: true

Decides which words are that. Refuses a task that reads one without `no_log: true`, facts and variables of a play or a
block that would carry it into other tasks, templates that name the folder, and what catalog.yml does not ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from receiver.domain.document import read_yaml, texts_of
from receiver.errors import Invalid

FOLDER = "gm_secret_dir"
#: the parameter that would become this variable
RESERVED = "secret_dir"
_NAME = r"[a-z][a-z0-9_-]{0,40}"
_LOOKUP = re.compile(
    rf"\blookup\(\s*(['\"])(?:ansible\.builtin\.)?file\1\s*,\s*{FOLDER}\s*~\s*(['\"])/{_NAME}\2\s*\)", re.ASCII
)
_NAMED = re.compile(rf"{FOLDER}\s*~\s*['\"]/({_NAME})['\"]|\{{\{{\s*{FOLDER}\s*\}}\}}/({_NAME})", re.ASCII)
_HIDING = ("templates/", "files/", "vars/")


def without_reading(text: str) -> str:
    """The text without the one lookup that is allowed."""
    return _LOOKUP.sub("", text)


def check_reader(task: Mapping[str, Any], texts: Iterable[str], module: str | None, place: str) -> None:
    """What one task says, or a block without the tasks in it."""
    if not any(FOLDER in text for text in texts):
        return
    if module is None:
        raise Invalid(f"{FOLDER} is read in a task, not in the variables of a block", where=place)
    if module == "ansible.builtin.set_fact":
        raise Invalid(f"set_fact with {FOLDER}: a fact would carry the secret into other tasks", where=place)
    if task.get("no_log") is not True:
        raise Invalid(f"it reads {FOLDER}, so it must say `no_log: true`", where=place)


def check_play(texts: Iterable[str], where: str) -> None:
    """Variables of a play are evaluated in every task that names them, also where nothing hides them."""
    if any(FOLDER in text for text in texts):
        raise Invalid(f"{FOLDER} is read in tasks, not in the variables of a play", where=where)


def check_names(files: Mapping[str, bytes], credentials: Iterable[str], where: str) -> None:
    """Only credentials that catalog.yml names, and each by its plain name."""
    asked = set(credentials)
    for name, content in files.items():
        place = f"{where}/{name}"
        if name.startswith(_HIDING) and FOLDER.encode() in content:
            raise Invalid(f"{FOLDER} is read in tasks; give the template a variable of its task", where=place)
        if name != "playbook.yml" and not name.startswith("tasks/"):
            continue
        for text in texts_of(read_yaml(content, where=place)):
            found = [one or other for one, other in _NAMED.findall(text)]
            if len(found) != text.count(FOLDER):
                raise Invalid(f"say which: {FOLDER} ~ '/<name of a credential>'", where=place)
            foreign = next((one for one in found if one not in asked), None)
            if foreign is not None:
                raise Invalid(f"it reads credential {foreign!r}, which `credentials` does not name", where=place)
