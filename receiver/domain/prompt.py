"""What a prompt file is given, and an example of it: the check of a revision and the planner share both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.domain.playbook import Playbook
from receiver.domain.template import check_template

_EXAMPLE: dict[str, Any] = {
    "id": "web_restart", "title": "Restart", "risk": "low", "use_when": "it is down", "not_when": "on purpose",
    "params": [
        {"name": "host", "kind": "host", "choices": [], "required": True},
        {"name": "keep", "kind": "", "choices": ["1d", "7d"], "required": False},
    ],
    "verify": ["web_restart.up"],
}  # fmt: skip


def read_prompts(files: Mapping[str, bytes]) -> dict[str, str]:
    """The prompt files of a revision, by name below `prompts/`; `Invalid` names file and line of one that does not
    render with what it will be given."""
    prompts = {
        path.removeprefix("prompts/"): content.decode("utf-8", "replace")
        for path, content in files.items()
        if path.startswith("prompts/") and path.endswith(".j2")
    }
    for name, text in sorted(prompts.items()):
        for playbooks in ([_EXAMPLE], []):
            check_template(name, text, {"playbooks": playbooks})
    return prompts


def shown_playbooks(playbooks: Iterable[Playbook]) -> list[dict[str, Any]]:
    """Playbooks as a prompt sees them: words of the adopted catalog, and the names of parameters."""
    return [
        {
            "id": one.id, "title": one.title, "risk": str(one.risk), "use_when": one.use_when, "not_when": one.not_when,
            "params": [_shown_param(one, name, schema) for name, schema in one.params.get("properties", {}).items()],
            "verify": [f"{one.id}.{query.id}" for query in one.verify],
        }
        for one in playbooks
    ]  # fmt: skip


def _shown_param(playbook: Playbook, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    choices = [*schema.get("enum", ())] or ([schema["default"]] if "default" in schema else [])
    kind = " or ".join(playbook.fillers(name)) if name in playbook.kinds else ""
    return {
        "name": name, "kind": kind, "choices": [] if kind else [str(one) for one in choices],
        "required": name in playbook.params.get("required", ()),
    }  # fmt: skip
