"""What a forge says of a pull request, and what we say there. `merged` is a hint, never a proof (promise P2).

Decides that people are known by the forge's own number: a login can be given to somebody else, a number never
is. Refuses nothing; what a forge does not say is None, and the approval table decides what that means.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from receiver.domain.record import Record


class Account(Record):
    """Somebody on a forge. On our own pages (`local`) the id is the name in policy.yml."""

    forge: str  #: `local`, `github`, `gitea` or `gitlab`
    id: str
    login: str  #: as people write it
    is_bot: bool = False  #: the forge says that no person is behind it

    def __str__(self) -> str:
        return self.login


def person_account(name: str) -> Account:
    """A person of the policy on our own pages or at a terminal."""
    return Account(forge="local", id=name, login=name)


def bot_account(name: str = "gitmedic") -> Account:
    """Our own account on the built-in forge."""
    return Account(forge="local", id=name, login=name, is_bot=True)


class Review(Record):
    """One person's word on one head."""

    by: Account
    head_sha: str
    verdict: Literal["approve", "reject"]
    at: datetime
    via: str  #: `session`, `terminal`, `forge`; `merge` where a merge itself is the word
    stands: bool = True  #: neither dismissed nor called stale by the forge
    may_write: bool = True  #: may push to the repository now, as the forge says
    signature: str = ""  #: an ssh signature over the approval's digest (rule S9); empty: none


class PullRequest(Record):
    """As the forge shows it now."""

    number: int
    url: str
    repository: str  #: the forge's own number of the base's repository; `local` on our own forge
    state: Literal["open", "merged", "closed"]
    head_sha: str
    head_ref: str
    base_ref: str
    author: Account
    same_repository: bool = True  #: the head lies in the base's own repository: no fork
    draft: bool = False
    merge_sha: str | None = None  #: the commit that the merge made on the base; None while it is open
    merged_by: Account | None = None
    merged_at: datetime | None = None
    closed_by: Account | None = None
    pushed_by: Account | None = None  #: who pushed the head; None: the forge does not say
    settling: bool = False  #: the forge is still working out its approvals or its merge: ask again soon
    reviews: tuple[Review, ...] = ()  #: every one that it still shows, oldest first


class Opening(Record):
    """A pull request to be opened."""

    branch: str
    head_sha: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()


class Marks(Record):
    """What we set on a pull request beside our comment: labels of ours, and the status of one commit."""

    head_sha: str
    state: Literal["pending", "success", "failure", "error"]
    text: str  #: one short line
    labels: tuple[str, ...] = ()  #: exactly these of those that begin with `gitmedic`; others are left alone
    target_url: str = ""


class Posture(Record):
    """How the base branch is protected. None: this token cannot see it."""

    protected: bool | None
    force_push: bool | None = None  #: somebody may rewrite its history
    reviews: int | None = None  #: approvals that the forge itself asks for
    admins_bypass: bool | None = None  #: administrators may merge past the rules
    manual_merge: bool | None = None  #: a pull request can be called merged without a merge (Gitea)
    stale_dismissed: bool | None = None  #: a push takes approvals back

    @property
    def weaknesses(self) -> tuple[str, ...]:
        """In words; empty when the branch is as it should be, as far as can be seen."""
        said = {
            "it is not protected": self.protected is False,
            "its history can be rewritten": bool(self.force_push),
            "it asks for no review": self.reviews == 0,
            "administrators can merge past its rules": bool(self.admins_bypass),
            "a pull request can be called merged by hand": bool(self.manual_merge),
        }
        return tuple(words for words, is_so in said.items() if is_so)
