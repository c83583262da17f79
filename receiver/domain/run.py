"""A run as the runner takes and gives it: a job of exact bytes in, events and one result out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict

from receiver.domain.collection import Pinned
from receiver.domain.record import Record

#: how a run is shut in, strongest first; what each stops is found by a probe, not believed
Rung = Literal["netns", "bwrap", "landlock", "none"]
RUNGS: tuple[Rung, ...] = ("netns", "bwrap", "landlock", "none")


class Hop(Record):
    """A host that a connection goes by, or ends at."""

    name: str
    address: str
    port: int = 22
    user: str = ""


class JobHost(Record):
    """One approved target with typed, untemplated connection variables."""

    name: str
    connection: Literal["ssh", "local"] = "ssh"
    address: str = ""
    port: int = 22
    user: str = ""
    python: str = ""  #: interpreter on the target; empty = the runner's own for local, discovery for ssh
    become: bool = False
    jump: tuple[Hop, ...] = ()  #: SSH: by way of these, in order
    variables: dict[str, Any] = {}  #: plain data of the inventory, wrapped unsafe by the runner
    writable: tuple[str, ...] = ()  #: local connections only: what the sandbox may write
    sockets: tuple[str, ...] = ()


class Job(Record):
    """Everything one child process needs; nothing is looked up later. Bytes travel as base64 in JSON."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    run_id: str
    mode: Literal["check", "run"]
    playbook_id: str
    files: dict[str, bytes]  #: path below the playbook's folder → bytes, by allow-list from git
    hosts: tuple[JobHost, ...]
    params: dict[str, Any]  #: without the `gm_` prefix
    collections: tuple[Pinned, ...] = ()  #: what it may load beside ansible-core; the executor compares the bytes
    credentials: tuple[str, ...] = ()  #: names; the executor resolves them
    isolation: Rung
    timeout_seconds: int = 120
    memory_mb: int = 512
    output_mb: int = 20
    processes: int = 256
    open_files: int = 1024
    file_mb: int = 1024  #: the largest single file
    scratch_mb: int = 256  #: the run's own directory


class RunEvent(Record):
    """One line of a run. Text is stripped of control, bidi and format characters (rule S22)."""

    seq: int
    at: datetime
    kind: str  #: play, task, ok, changed, failed, skipped, unreachable, warning, error, stats
    host: str = ""
    task: str = ""
    text: str = ""
    diff: str = ""
    data: dict[str, Any] = {}


class RunStats(Record):
    """Ansible's own counters for one host."""

    ok: int = 0
    changed: int = 0
    failures: int = 0
    unreachable: int = 0
    skipped: int = 0
    rescued: int = 0
    ignored: int = 0


class RunResult(Record):
    """How one child process ended."""

    status: Literal["successful", "failed", "cancelled", "timeout", "interrupted"]
    rc: int | None = None
    why: str = ""  #: one sentence when not successful
    stats: dict[str, RunStats] = {}
    changes: tuple[str, ...] = ()  #: `host: task` of each task that changed, or would, in order
    not_previewable: tuple[str, ...] = ()  #: tasks that check mode skipped
    preview_ends: tuple[str, ...] = ()  #: `host: task` at which a dry run could not go on: it uses what was skipped
    output: str = ""  #: the cleaned standard output, bounded
    diff: str = ""  #: the cleaned diffs, bounded
    started_at: datetime
    ended_at: datetime
    limit: str = ""  #: the key of `limits:` that ended it, when one did
    isolation: str = ""  #: the rung it really ran on
