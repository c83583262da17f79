"""A proposal, what was rehearsed for it, and what the forge says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from receiver.domain.record import Record
from receiver.domain.run import RunResult


class Answer(Record):
    """The answer of one row of a table of checks (guard, triage, approval)."""

    name: str
    passed: bool | None  #: None: does not apply here
    why: str


class Rehearsal(Record):
    """A dry run of exactly the proposed run."""

    id: str
    result: RunResult


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


class Review(Record):
    """One person's word on one head."""

    person: str
    head_sha: str
    verdict: Literal["approve", "reject"]
    at: datetime
    via: str  #: `session`, `terminal`


class PullRequest(Record):
    """What the forge says now. `merged` is a hint, never a proof."""

    number: int
    state: Literal["open", "merged", "closed"]
    head_sha: str
    head_ref: str
    base_ref: str
    author: str
    same_repository: bool = True
    draft: bool = False
    merge_sha: str | None = None
    merged_by: str | None = None
    merged_at: datetime | None = None
    closed_by: str | None = None
    reviews: tuple[Review, ...] = ()


class Approval(Record):
    """The merge that the checks believed, with every answer."""

    at: datetime  #: by the database's clock
    merge_sha: str
    head_sha: str
    approved_by: tuple[str, ...]
    checks: tuple[Answer, ...]
