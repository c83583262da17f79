"""What one commit says: catalog, inventory and policy; what a playbook stands on; what may enter a run.

Decides which files are read at all. Symbolic links and submodules are never followed and never read. Refuses
a run whose playbook or roles bring code for Ansible itself (rule S6).
"""

from __future__ import annotations

import re

from receiver.adapters.repo import objects
from receiver.adapters.repo.names import check_id, check_path
from receiver.adapters.repo.objects import Entry
from receiver.adapters.repo.process import Git
from receiver.domain.collection import LOCK, read_collections
from receiver.domain.inventory import read_inventory
from receiver.domain.landing import Trees
from receiver.domain.lint import enters_role, enters_run
from receiver.domain.playbook import read_catalog
from receiver.domain.policyfile import read_policy
from receiver.domain.prompt import read_prompts
from receiver.domain.revision import Revision
from receiver.errors import Invalid, Refused

#: what takes effect only as an adopted revision (rule S4)
CONTENT = ("playbooks", "roles", "collections.lock", "inventory", "prompts", "policy.yml")

#: folders of data: a name inside them loads nothing
_DATA = ("templates", "files")


def inventory_files(git: Git, commit: str) -> dict[str, bytes]:
    """The files of the inventory, for a change of it."""
    entries = objects.files(git, _content(git, commit), "inventory")
    return objects.read_files(git, entries, most=git.settings.max_revision_bytes, doing="reading the inventory")


def revision(git: Git, commit: str) -> Revision:
    """Catalog, inventory, policy and prompts at a commit; `Invalid` when they cannot be read."""
    entries = objects.files(git, _content(git, commit), "playbooks", "inventory", "prompts", "policy.yml", LOCK)
    read = objects.read_files(
        git, entries, most=git.settings.max_revision_bytes, doing=f"reading revision {commit[:12]}"
    )
    policy = read.get("policy.yml")
    if policy is None:
        raise Invalid(
            f"revision {commit[:12]} has no such file",
            where=f"{git.settings.prefix}/policy.yml".lstrip("/"),
            next_step="write one; `gitmedic init` shows how it looks",
        )
    return Revision(
        commit=commit,
        catalog=read_catalog({path: data for path, data in read.items() if path.startswith("playbooks/")}),
        inventory=read_inventory({path: data for path, data in read.items() if path.startswith("inventory/")}),
        policy=read_policy(policy),
        collections=read_collections(read.get(LOCK)),
        prompts=read_prompts(read),
    )


def trees(git: Git, commit: str, playbook_path: str) -> Trees | None:
    """What a run file pins; None when the commit has no such playbook."""
    check_path(playbook_path)
    at = _content(git, commit)
    playbook, roles, collections = objects.find(git, f"{at}:{playbook_path}", f"{at}:roles", f"{at}:collections.lock")
    if playbook is None or playbook.kind != "tree":
        return None
    return Trees(
        playbook=playbook.id,
        roles=roles.id if roles else "",
        collections=collections.id if collections else "",
    )


def run_files(git: Git, commit: str, playbook_path: str) -> dict[str, bytes]:
    """The files that may enter a run, by path below the playbook's folder; roles as `roles/<name>/…`."""
    check_path(playbook_path)
    at = _content(git, commit)
    folder = f"{playbook_path}/"
    own = [
        entry._replace(path=entry.path.removeprefix(folder))
        for entry in objects.files(git, at, playbook_path)
        if entry.path.startswith(folder)
    ]
    for entry in own:
        _check(entry, entry.path, playbook_path)
    named = [entry for entry in own if enters_run(entry.path)]
    if not any(entry.path == "playbook.yml" for entry in named):
        raise Invalid(
            f"commit {commit[:12]} has no such file",
            where=f"{playbook_path}/playbook.yml",
            next_step="see what is in force with: gitmedic catalog list",
        )
    doing = f"reading {playbook_path}"
    found = objects.read_files(git, named, most=git.settings.max_run_bytes, doing=doing)
    found |= _roles(git, at, found, doing)
    total = sum(map(len, found.values()))
    if total > git.settings.max_run_bytes:
        raise Invalid(f"{doing}: {total} bytes are more than {git.settings.max_run_bytes}")
    return found


def known(git: Git, commit: str) -> str:
    """A commit that is there, by full id."""
    if objects.commit_of(git, check_id(commit)) != commit:
        raise Refused(
            f"reading commit {commit}: the ops repository does not have it",
            next_step="fetch it, or see `gitmedic revision show`",
        )
    return commit


def _content(git: Git, commit: str) -> str:
    """The tree of what needs adoption, at a commit that is there."""
    return objects.root(git, known(git, commit))


def _roles(git: Git, tree: str, playbook: dict[str, bytes], doing: str) -> dict[str, bytes]:
    """Shared roles that the playbook, or a role that it uses, names."""
    shared: dict[str, list[Entry]] = {}
    for entry in objects.files(git, tree, "roles"):
        parts = entry.path.split("/", 2)
        if len(parts) == 3:
            shared.setdefault(parts[1], []).append(entry)
    found: dict[str, bytes] = {}
    fresh = list(playbook.values())
    while fresh:
        texts, fresh = fresh, []
        for name in [name for name in shared if any(_names(name, text) for text in texts)]:
            read = objects.read_files(
                git, _role_files(name, shared.pop(name)), most=git.settings.max_run_bytes, doing=doing
            )
            found |= read
            fresh += read.values()
    return found


def _role_files(name: str, entries: list[Entry]) -> list[Entry]:
    own = [(entry, entry.path.split("/", 2)[2]) for entry in entries]
    for entry, below in own:
        _check(entry, below, f"roles/{name}")
    return [entry for entry, below in own if enters_role(below)]


def _names(role: str, text: bytes) -> bool:
    # a word too many only carries a pinned role along; a role too few would break the run
    return re.search(rb"(?<![\w.-])" + re.escape(role.encode()) + rb"(?![\w-])", text) is not None


def _check(entry: Entry, below: str, where: str) -> None:
    """Rule S6: nothing beside a playbook or in a role may extend or configure Ansible."""
    if not entry.plain:
        raise Refused(
            f"{where}/{below} is a symbolic link or a submodule (mode {entry.mode})",
            next_step="put the file itself there",
            reason="not_a_file",
        )
    folders = below.split("/")
    if folders[0] in _DATA:
        return
    for name in folders:
        lower = name.lower()
        if lower in ("collections", "library", "module_utils", "ansible.cfg") or lower.endswith("_plugins"):
            raise Refused(
                f"{where}/{below} would extend or configure Ansible for this run",
                next_step="take it out; modules come from collections.lock",
                reason="extends_ansible",
            )
