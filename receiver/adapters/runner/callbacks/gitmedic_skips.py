"""Writes down which tasks check mode could not preview, and which changed something that is hidden by no_log;
ansible-runner's own events leave both out.

Loaded by Ansible inside the run, from `ANSIBLE_CALLBACK_PLUGINS`; writes one JSON line to the file named by
`GITMEDIC_SKIPS` per such task, and per task that failed only because it uses what a skipped one would have found.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: gitmedic_skips
    type: aggregate
    short_description: notes what check mode could not preview
    description: Notes the reason of each skipped task in a file.
"""


#: in the reason of a task that check mode skipped
_CHECK_MODE = ("check mode", "check_mode")
#: in the error of a task that was never begun, since its own words could not be worked out
_UNDEFINED = (
    "undefined", "has no attribute", "has no element", "Finalization of task args", "Error while resolving value",
    "Error while evaluating conditional",
)  # fmt: skip


def _names_set_by(task: Any) -> set[str]:
    """What later tasks would find: its register, and the facts it would set."""
    names = {str(task.register)} if task.register else set()
    if str(task.action).rsplit(".", 1)[-1] == "set_fact":
        names |= {str(name) for name in task.args if name != "cacheable"}
    return names


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Ansible finds it by this name."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gitmedic_skips"

    def __init__(self) -> None:
        super().__init__()
        self._unknown: dict[str, set[str]] = {}  #: host → names that only a task which was skipped would have set

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was skipped on one host."""
        said = str(result._result.get("msg", ""))
        if "censored" in result._result:
            said = "hidden by no_log: check mode may be the reason"  # what is not known counts as not previewed
        if any(word in said for word in _CHECK_MODE):
            self._unknown.setdefault(result._host.get_name(), set()).update(_names_set_by(result._task))
        self._write(result, said)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed on one host."""
        said, host = str(result._result.get("msg", "")), result._host.get_name()
        unknown = self._unknown.get(host, set())
        if not any(word in said for word in _UNDEFINED):
            return
        source = repr(getattr(result._task, "_ds", None) or result._task.serialize())
        used = sorted(name for name in unknown if re.search(rf"\b{re.escape(name)}\b", source))
        if used:
            unknown.update(_names_set_by(result._task))
            self._write(result, said, unknown=used[0])

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task ended well; what no_log hides may still be a change."""
        if "censored" in result._result and result._result.get("changed"):
            self._write(result, "", changed=True)

    def _write(self, result: Any, said: str, **more: Any) -> None:
        task = result._task
        line = {"host": result._host.get_name(), "task": task.get_name(), "id": str(task._uuid), "msg": said, **more}
        with Path(os.environ["GITMEDIC_SKIPS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
