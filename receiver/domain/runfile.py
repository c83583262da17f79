"""The run file: one YAML file is one proposed run. Written by us, read back with suspicion.

`runs/<yyyy>/<mm>/<dd>/<run id>.yml`; plain YAML without tags, anchors, aliases or duplicate keys, at most
64 kB of printable UTF-8. Reading what was written gives the same value.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from receiver.domain.record import Record


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
