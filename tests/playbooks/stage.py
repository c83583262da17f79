"""Runs shipped playbooks as the product would: the real runner, the locked collections, an inventory of the test's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.settings import CredentialSettings, RunnerSettings
from receiver.domain.collection import LOCK, Collections, read_collections
from receiver.domain.inventory import read_inventory
from receiver.domain.job import job_of
from receiver.domain.playbook import Playbook, read_catalog
from receiver.domain.run import RunEvent, RunResult
from receiver.domain.runfile import Pins, RunFile
from receiver.identity import new_id
from tests.machine import collections

ROOT = Path(__file__).parents[2]
FILES = {str(p.relative_to(ROOT)): p.read_bytes() for p in (ROOT / "playbooks").rglob("*") if p.is_file()}
CATALOG = read_catalog(FILES).playbooks


class Stage:
    """One executor. `settings` are its own beside the collections; `lock` is what the revision pins."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.place = place
        self.settings = settings
        self.keys: dict[str, Path] = {}
        self.hosts: dict[str, Any] = {}
        self.lock: Collections = read_collections((ROOT / LOCK).read_bytes())
        self.events: list[RunEvent] = []
        (place / "data").mkdir()

    def trust(self, *lines: str) -> None:
        """Host keys that the executor believes."""
        (self.place / "data" / "known_hosts").write_text("".join(f"{line}\n" for line in lines))

    def local(self, facts: dict[str, str], **local: list[str]) -> None:
        self.hosts["here"] = {
            "ansible_connection": "local", "gitmedic_facts": facts, "gitmedic": {"local": local},
        }  # fmt: skip

    async def run(self, id: str, mode: str = "run", host: str = "here", **params: str) -> RunResult:
        playbook: Playbook = CATALOG[id]
        inventory = read_inventory({"inventory/hosts.yml": json.dumps({"all": {"hosts": self.hosts}}).encode()})
        runfile = RunFile.model_validate(
            {
                "run": new_id(), "playbook": id, "targets": (host,), "params": {"host": host, **params},
                "revision": "c" * 40, "pins": Pins(playbook="d" * 40, roles="", collections="", targets="e" * 64),
                "case": new_id(), "reason": "test", "requested_by": "system", "expires_at": "2030-01-01T00:00:00Z",
            }
        )  # fmt: skip
        inside = {
            name.removeprefix(f"{playbook.path}/"): data
            for name, data in FILES.items()
            if name.startswith(f"{playbook.path}/") and (name.endswith("playbook.yml") or "/tasks/" in name)
        }
        needed = collections() if playbook.collections else None
        settings = RunnerSettings(**{"collections": needed, **self.settings})
        credentials = {
            name: CredentialSettings(kind="ssh_key" if name == "ssh" else "token", file=key, hosts=("*",))
            for name, key in self.keys.items()
        }
        runner = AnsibleRunner(settings, data_dir=self.place / "data", credentials=credentials)
        isolation = await runner.isolation()
        job = job_of(
            runfile, playbook, inventory, inside,
            mode=mode, isolation=isolation, collections=self.lock,  # type: ignore[arg-type]
        )  # fmt: skip
        self.events.clear()

        async def record(events: Sequence[RunEvent]) -> None:
            self.events.extend(events)

        async def never() -> bool:
            return False

        return await runner.run(job, record, never)
