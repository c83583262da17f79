"""Where the ops repository lies and how gitmedic signs its commits. Refuses names that git would misread."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: a branch name without anything that git, a shell or a URL would read as more than a name
BRANCH = r"^[A-Za-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_][A-Za-z0-9_-]*)*$"
#: a folder of the repository, as a path of a proposal may be
FOLDER = r"^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*)?$"


class RepoSettings(BaseModel):
    """The ops repository on this machine: bare, and only ever read by object id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path  #: the bare repository, `<data-dir>/ops.git`
    #: where an executor on another machine fetches it, when no forge has it: `https://…`, `ssh://…` or a folder
    url: str = ""
    ca_file: Path | None = None  #: for https: a certificate, or its authority, that is trusted in the system's place
    login: str = ""  #: for https: the account
    token_file: Path | None = None  #: for https: its password
    ssh_key_file: Path | None = None  #: for ssh: the key of this machine, good for this repository alone
    known_hosts_file: Path | None = None  #: for ssh: the host's key
    base: Annotated[str, Field(pattern=BRANCH, max_length=100)] = "main"  #: the protected branch
    #: the folder of the repository in which content and run files lie; empty: its root. All else in it is left alone
    prefix: Annotated[str, Field(pattern=FOLDER, max_length=100)] = ""
    author_name: Annotated[str, Field(pattern=r"^[^<>\x00-\x1f\x7f]{1,100}$")] = "gitmedic"
    author_email: Annotated[str, Field(pattern=r"^[^<>\s\x00-\x1f\x7f]{1,200}$")] = "gitmedic@localhost"
    signing_key_file: Path | None = None  #: ssh private key without a passphrase that signs our commits; none: unsigned
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0  #: for one git process
    network_seconds: Annotated[float, Field(gt=0)] = 120.0  #: for one that talks to a forge
    protocols: tuple[str, ...] = ("file",)  #: what git may speak; a bare repository on disk needs no more
    max_file_bytes: Annotated[int, Field(gt=0)] = 1 << 20  #: one proposed file
    max_revision_bytes: Annotated[int, Field(gt=0)] = 64 << 20  #: catalog, inventory and policy together
    max_run_bytes: Annotated[int, Field(gt=0)] = 20 << 20  #: what may enter one run
    max_diff_bytes: Annotated[int, Field(gt=0)] = 200_000  #: of a diff shown to a person
