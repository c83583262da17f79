"""`collections.lock`: which Ansible collections a run may load, and the digest of every file that enters it (rule S6).

Decides what a playbook needs of it, dependencies in. Refuses a collection that the lock does not name: a run loads
nothing that was not merged. The lock holds digests only; where collections lie is a setting of the executor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated

import yaml
from pydantic import StringConstraints, ValidationError

from receiver.domain.document import read_mapping
from receiver.domain.record import Record
from receiver.errors import Invalid, Refused

LOCK = "collections.lock"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,60}\.[a-z_][a-z0-9_]{0,60}", re.ASCII)
#: they come with ansible-core, which the program's own lock pins
_CORE = frozenset({"ansible.builtin", "ansible.legacy"})
_NEXT = "gitmedic catalog lock, then have collections.lock merged"
_HEAD = "# Written by `gitmedic catalog lock`: the collections that runs may load, and the digest of their files.\n"


class Collection(Record):
    """One pinned collection."""

    version: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  #: of its files, as `digest_of` counts
    needs: tuple[str, ...] = ()  #: other collections that it loads


class Pinned(Collection):
    """One collection as a job carries it."""

    name: str


class Collections(Record):
    """The whole lock."""

    collections: dict[str, Collection] = {}

    def named_in(self, texts: Iterable[bytes]) -> set[str]:
        """Which of them these files speak of: a role's modules are not read when the catalog is."""
        texts = list(texts)
        return {name for name in self.collections if any(f"{name}.".encode() in text for text in texts)}

    def needed(self, names: Iterable[str]) -> tuple[Pinned, ...]:
        """These collections and what they need, by name; one that the lock does not name is refused."""
        found: dict[str, Pinned] = {}
        fresh = sorted(set(names) - _CORE)
        while fresh:
            name = fresh.pop()
            if name in found:
                continue
            if name not in self.collections:
                raise Refused(
                    f"collection {name!r} is not in {LOCK}, and nothing else is loaded", next_step=_NEXT,
                    reason="collection",
                )  # fmt: skip
            one = self.collections[name]
            found[name] = Pinned(name=name, **one.model_dump())
            fresh += one.needs
        return tuple(found[name] for name in sorted(found))


def read_collections(content: bytes | None) -> Collections:
    """The lock of one revision; without a file nothing is pinned."""
    plain = read_mapping(content, where=LOCK) if content and content.strip() else {}
    if not plain:
        return Collections()
    if plain.pop("schema", None) != 1:
        raise Invalid("schema must be 1", where=LOCK, next_step="gitmedic catalog lock")
    try:
        lock = Collections.model_validate(plain, strict=None)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{key}: {first['msg']}", where=LOCK, next_step="gitmedic catalog lock") from error
    for name, one in lock.collections.items():
        for said in (name, *one.needs):
            if not _NAME.fullmatch(said) or said in _CORE:
                raise Invalid(f"{said!r} is no name of a collection", where=LOCK)
        absent = [need for need in one.needs if need not in lock.collections]
        if absent:
            raise Invalid(f"{name}: needs {absent[0]!r}, which is not named", where=LOCK, next_step=_NEXT)
    return lock


def write_collections(lock: Collections) -> bytes:
    """The file, in one order."""
    plain = {
        "schema": 1,
        "collections": {
            name: json.loads(one.model_dump_json(exclude_defaults=True))
            for name, one in sorted(lock.collections.items())
        },
    }
    return (_HEAD + yaml.safe_dump(plain, sort_keys=False, width=120)).encode()


def digest_of(files: Mapping[str, bytes]) -> str:
    """sha256 over one line for each file, by path: its path and the sha256 of its bytes."""
    lines = [f"{path} {sha256(files[path]).hexdigest()}\n" for path in sorted(files)]
    return sha256("".join(lines).encode()).hexdigest()


def collection_of(module: str) -> str:
    """`community.docker` of `community.docker.docker_container`; empty for what comes with ansible-core."""
    name = ".".join(module.split(".")[:2])
    return "" if name in _CORE or module.count(".") < 2 else name
