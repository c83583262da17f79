"""Hosts as proposals: one more as a change for people to accept, one less as a patch for the work tree (rule S4).

Decides that nothing here puts anything in force. On a forge a new host is a pull request; on the built-in forge it is
merged, and waits for `gitmedic revision accept` like every other change of the inventory. Taking a host out changes
lines that people wrote, so it is shown as a patch and left to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from receiver.domain.forge import Opening
from receiver.domain.inventory import Inventory
from receiver.domain.roster import enlisted, patch, struck
from receiver.errors import Unavailable
from receiver.office import Office

_ACCEPT = "gitmedic revision diff, then gitmedic revision accept"
_TRIES = 5


class Enlisting:
    """The hosts of one office."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def inventory(self) -> Inventory:
        """The one in force."""
        return (await self._office.repo.revision(await self._office.repo.adopted())).inventory

    async def listed(self) -> list[dict[str, Any]]:
        """The hosts of the inventory in force, as the API and the command line give them."""
        inventory = await self.inventory()
        wanted = {"name", "connection", "address", "port", "user", "become", "site", "jump", "kind", "node"}
        return [host.model_dump(mode="json", include=wanted) for _, host in sorted(inventory.hosts.items())]

    async def add(self, name: str, said: Mapping[str, Any], *, actor: str) -> dict[str, Any]:
        """Propose a new host; gives where, and what a person does next."""
        inventory = (await self._office.repo.revision(await self._office.repo.fetch())).inventory
        change = enlisted(inventory, name, said)
        assert change.content is not None, "a new host has a file"  # noqa: S101
        place = self._office.places.main
        path = f"{place.prefix}/{change.path}" if place.prefix else change.path
        branch = f"gitmedic/hosts/{name}-{sha256(change.content).hexdigest()[:8]}"
        title = f"Add host {name} ({said.get('address') or name})"
        message = f"{title}\n\nAsked for by {actor}."
        head, _ = await place.branches.propose(branch=branch, path=path, content=change.content, message=message)
        made = {"schema": 1, "name": name, "path": path, "content": change.content.decode(), "branch": branch}
        if place.forge.name == "local":
            return {
                **made,
                "url": "",
                "commit": await _merged(self._office, branch, head, message),
                "next_step": _ACCEPT,
            }
        body = f"{message}\n\nIn force once merged and accepted. Then its host key: `gitmedic hosts trust {name}`."
        opened = await place.forge.open(Opening(branch=branch, head_sha=head, base=place.base, title=title, body=body))
        return {**made, "url": opened.url, "commit": head, "next_step": f"review and merge {opened.url}"}

    async def remove(self, name: str) -> dict[str, Any]:
        """The patch that takes a host out; nothing is changed."""
        files = await self._office.repo.inventory_files(await self._office.repo.fetch())
        change = struck(files, name)
        step = "apply it in the work tree with `git apply`, then commit and push it"
        return {"schema": 1, "name": name, "path": change.path, "patch": patch(files, change), "next_step": step}


async def _merged(office: Office, branch: str, head: str, message: str) -> str:
    """On the base of the built-in forge, where it waits for acceptance."""
    for _ in range(_TRIES):
        merge, tip = await office.repo.prepare_merge(head, message)
        if await office.repo.land(merge, tip, branch, head):
            await office.repo.retire(branch)
            return merge
    raise Unavailable(f"merging {branch}: the base moved each time")
