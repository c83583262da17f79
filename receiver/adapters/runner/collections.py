"""The collections of one run: read where they are installed, compared with the lock, written into the run's own folder.

What was compared is what is written: nobody can change a file between the two. Only what Ansible loads is taken:
plugins, roles and the table of redirects. Refuses a collection that is missing, altered or of another version, and a
link that leads out of it.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from receiver.domain.collection import Collection, Collections, Pinned, digest_of
from receiver.errors import Refused

#: what a run loads of a collection; the rest of it, such as tests and changelogs, never reaches one
_FOLDERS, _FILES = ("plugins", "roles", "playbooks"), ("meta/runtime.yml", "MANIFEST.json", "galaxy.yml")
_LEFT_OUT = frozenset({"__pycache__", ".git"})
_NEXT = "install that version again, or pin what is there: gitmedic catalog lock"


def installed_in(settings_path: Path | None) -> Path:
    """Where collections lie: as the settings say, else in this program's own environment."""
    return settings_path or Path(sysconfig.get_path("purelib"))


def provide(pinned: Iterable[Pinned], place: Path, target: Path) -> None:
    """Exactly the pinned bytes below `target`, which Ansible then searches; else `Refused`."""
    (target / "ansible_collections").mkdir(mode=0o755, parents=True, exist_ok=True)
    for one in pinned:
        files = compared(one, place)
        folder = target / "ansible_collections" / Path(*one.name.split("."))
        for path, content in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def compared(one: Pinned, place: Path) -> dict[str, bytes]:
    """The files of a collection, when they are the pinned ones; else `Refused`."""
    files = read(place, one.name)
    if digest_of(files) != one.sha256:
        raise Refused(
            f"collection {one.name} in {place} is not the one that collections.lock pins: {_what(files, one)}",
            next_step=_NEXT, reason="collection",
        )  # fmt: skip
    return files


def read(place: Path, name: str) -> dict[str, bytes]:
    """The files of an installed collection that may enter a run, by path in it."""
    folder = (place / "ansible_collections" / Path(*name.split("."))).resolve()
    if not folder.is_dir():
        raise Refused(
            f"collection {name} is not installed in {place}",
            next_step=f"ansible-galaxy collection install {name} -p {place}, or say [runner] collections",
            reason="collection",
        )
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if _LEFT_OUT & set(inside.parts) or path.suffix == ".pyc" or not path.is_file():
            continue
        if inside.as_posix() not in _FILES and inside.parts[0] not in _FOLDERS:
            continue
        if not path.resolve().is_relative_to(folder):
            raise Refused(f"collection {name}: {path} leads out of it", next_step=_NEXT, reason="collection")
        found[inside.as_posix()] = path.read_bytes()
    return found


def lock_of(place: Path, names: Iterable[str]) -> Collections:
    """The lock for these collections and what they need, as they lie there."""
    found: dict[str, Collection] = {}
    fresh = list(names)
    while fresh:
        name = fresh.pop()
        if name not in found:
            files = read(place, name)
            said = _manifest(files)
            needs = tuple(sorted(said.get("dependencies") or {}))
            found[name] = Collection(version=str(said.get("version", "")), sha256=digest_of(files), needs=needs)
            fresh += needs
    return Collections(collections=found)


def _what(files: dict[str, bytes], pinned: Pinned) -> str:
    """How it differs, in words."""
    version = _manifest(files).get("version")
    if version != pinned.version:
        return f"it is version {version}, pinned is {pinned.version}"
    return f"version {version} with altered files"


def _manifest(files: dict[str, bytes]) -> dict[str, Any]:
    try:
        said = json.loads(files["MANIFEST.json"])["collection_info"]
    except (KeyError, ValueError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}
