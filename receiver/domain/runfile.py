"""The run file: one YAML file is one proposed run. Written by us, read back with suspicion.

`runs/<yyyy>/<mm>/<dd>/<run id>.yml`; plain YAML without tags, anchors, aliases or duplicate keys, at most
64 kB of printable UTF-8. Reading what was written gives the same value.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from receiver.domain.document import read_mapping
from receiver.domain.landing import Trees
from receiver.domain.record import Record
from receiver.errors import Invalid

MAX_BYTES = 64 * 1024
_RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


class Pins(Record):
    """What the run file stands on, by content."""

    playbook: str  #: git tree id of the playbook's folder
    roles: str  #: git tree id of shared roles, or empty
    collections: str  #: git blob id of `collections.lock`, or empty
    targets: str  #: sha256 of the targets' resolved addresses and variables


class RunFile(Record):
    """One proposed run."""

    schema_version: Literal[1] = 1  #: written as `schema`
    run: str  #: UUIDv7, also the file's name
    playbook: str
    targets: tuple[str, ...]
    params: dict[str, Any]
    revision: str  #: commit id of the adopted revision
    pins: Pins
    case: str
    alert: dict[str, str] | None = None  #: source, fingerprint, starts_at
    reason: str
    requested_by: str
    expires_at: datetime

    def moved(self, trees: Trees | None, targets: str) -> str | None:
        """What of all that it pins is not as it was; `trees` and the digest of the targets are those of now."""
        if trees is None:
            return f"playbook {self.playbook!r} is no longer in the adopted revision"
        if (trees.playbook, trees.roles, trees.collections) != (
            self.pins.playbook, self.pins.roles, self.pins.collections,
        ):  # fmt: skip
            return "the playbook, its roles or collections changed"
        return "the targets' addresses or variables changed" if targets != self.pins.targets else None


def path_of(run: str, day: datetime, prefix: str = "") -> str:
    """Where a run file lies: sharded by day, so that a directory stays small."""
    return f"{prefix}{'/' if prefix else ''}runs/{day:%Y/%m/%d}/{run}.yml"


def write_runfile(runfile: RunFile) -> bytes:
    """Deterministic YAML; reading it back gives the same value."""
    plain = runfile.model_dump(mode="json")
    plain = {"schema": plain.pop("schema_version"), **plain}
    return yaml.dump(plain, Dumper=_Plain, sort_keys=False, allow_unicode=False, width=1000).encode()


def read_runfile(content: bytes, path: str) -> RunFile:
    """The run of a file; raises `Invalid` naming the file and what is wrong with it."""
    plain = read_mapping(content, where=path, limit=MAX_BYTES)
    if plain.get("schema") != 1:
        raise Invalid(f"schema is {plain.get('schema')!r}, this version reads 1", where=path)
    plain = {"schema_version": plain.pop("schema"), **plain}
    try:
        runfile = RunFile.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{field}: {first['msg']}", where=path) from error
    if not _RUN.fullmatch(runfile.run) or PurePosixPath(path).name != f"{runfile.run}.yml":
        raise Invalid(f"run {runfile.run!r} is not what the file is named after", where=path)
    return runfile


class _Plain(yaml.SafeDumper):
    """No anchors and aliases, which the reader refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always written out."""
        return True
