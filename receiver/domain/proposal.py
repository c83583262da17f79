"""A proposal, what was rehearsed for it, and the approval that was believed."""

from __future__ import annotations

from datetime import datetime

from receiver.domain.forge import Account
from receiver.domain.place import key_of
from receiver.domain.record import Record
from receiver.domain.run import RunResult
from receiver.domain.runfile import RunFile


class Answer(Record):
    """The answer of one row of a table of checks (guard, triage, approval)."""

    name: str
    passed: bool | None  #: None: does not apply here
    why: str


class Rehearsal(Record):
    """A dry run of exactly the proposed run."""

    id: str
    result: RunResult

    def differs_from(self, other: Rehearsal) -> bool:
        """Whether something else would change than was approved (rule S5)."""
        return self._said != other._said

    @property
    def _said(self) -> tuple[object, ...]:
        result = self.result
        return result.status, sorted(result.changes), sorted(result.not_previewable), result.diff


class Proposal(Record):
    """One pull request with one new file."""

    run_id: str
    path: str  #: of the run file
    branch: str
    sha256: str  #: of the run file's bytes
    head_sha: str
    base_sha: str
    number: int
    url: str
    expires_at: datetime
    author: Account | None = None  #: of a pull request that a person opened; None: it is our own
    place: str = ""  #: the settings' name of the repository that it is in; empty: the catalog's own
    repository: str = ""  #: that repository's number on its forge; empty: proposed before it was written down

    @property
    def key(self) -> str:
        """The repository among all of ours; empty where it was not written down."""
        return key_of(self.place, self.repository) if self.repository else ""

    def is_in(self, key: str) -> bool:
        """Whether it is in this repository; one that does not say is in the catalog's, as all were once."""
        return self.key == key if self.key else "/" not in key


class GivenRun(Record):
    """A run that a person wrote, and the pull request that it came in."""

    proposal: Proposal
    runfile: RunFile


class Signature(Record):
    """One person's ssh signature over the approval's digest (rule S9)."""

    person: str
    text: str  #: armoured, as `ssh-keygen -Y sign` writes it


class Approval(Record):
    """The merge that the checks believed, with every answer."""

    at: datetime  #: by the database's clock
    merge_sha: str
    head_sha: str
    approved_by: tuple[str, ...]  #: people of policy.yml
    signatures: tuple[Signature, ...] = ()  #: from risk high; verified again by the executor
    checks: tuple[Answer, ...]
