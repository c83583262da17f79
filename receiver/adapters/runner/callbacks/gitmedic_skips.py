"""Writes down which tasks check mode could not preview; ansible-runner's own events leave the reason out.

Loaded by Ansible inside the run, from `ANSIBLE_CALLBACK_PLUGINS`; writes one JSON line per skipped task to the
file named by `GITMEDIC_SKIPS`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: gitmedic_skips
    type: aggregate
    short_description: notes what check mode could not preview
    description: Notes the reason of each skipped task in a file.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Ansible finds it by this name."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gitmedic_skips"

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was skipped on one host."""
        said = str(result._result.get("msg", ""))
        line = {"host": result._host.get_name(), "task": result._task.get_name(), "msg": said}
        with Path(os.environ["GITMEDIC_SKIPS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
