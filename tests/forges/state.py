"""What every forge has, without any dialect: accounts, repositories with real git, pull requests, reviews, hooks.

Decides what a person may do there, in the words of no forge: each act is done as a user and raises `Denied`. A
dialect is a subclass: it shows this state in its own JSON, and overrides what its forge decides otherwise.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.routing import BaseRoute

from tests.forges import gitwork
from tests.forges.schema import Spec

Right = Literal["read", "write", "admin"]
Style = Literal["merge", "squash", "rebase", "fast-forward", "manual"]
_RANK = {"read": 1, "write": 2, "admin": 3}
P = ParamSpec("P")
R = TypeVar("R")


class Denied(Exception):
    """What the forge says no to; a dialect picks its own status by the reason."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


class Moved(Denied):
    """The repository has another name now."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(301, f"{old} is now {new}", "moved")
        self.old, self.new = old, new


@dataclass
class User:
    id: int
    login: str
    is_bot: bool = False
    tokens: dict[str, set[str]] = field(default_factory=dict)  #: token → scopes; a bare `git` may fetch and push
    deleted: bool = False


@dataclass
class Protection:
    required_reviews: int = 0
    force_push: bool = False
    direct_push: bool = False  #: people with the right to write may push to it
    admins_bypass: bool = True
    dismiss_stale: bool = False
    more: dict[str, Any] = field(default_factory=dict)  #: what only one dialect has


@dataclass
class Hook:
    id: int
    url: str
    secret: str
    active: bool = True
    events: list[str] = field(default_factory=list)


@dataclass
class Status:
    state: str
    context: str
    description: str
    target_url: str
    by: int
    at: datetime


@dataclass
class Repository:
    id: int
    owner: str
    name: str
    folder: Path
    default_branch: str = "main"
    private: bool = True
    archived: bool = False
    rights: dict[int, Right] = field(default_factory=dict)
    protection: dict[str, Protection] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)  #: name → id
    styles: set[Style] = field(default_factory=lambda: {"merge", "squash", "rebase", "fast-forward"})
    refused_refs: tuple[str, ...] = ("refs/pull/*",)  #: shell patterns that nobody may push

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass
class Review:
    id: int
    user: int
    state: str  #: `approve`, `reject`, `comment`
    body: str
    commit_sha: str
    at: datetime
    dismissed: bool = False
    stale: bool = False  #: for the dialects whose forge says so


@dataclass
class Comment:
    id: int
    user: int
    body: str
    at: datetime
    edited_at: datetime


@dataclass(frozen=True)
class Version:
    sha: str
    at: datetime
    pusher: int


@dataclass
class Pull:
    id: int
    number: int
    repository: int  #: of the base
    head_repository: int | None  #: None: that fork was deleted
    branch: str
    base: str
    author: int
    title: str
    body: str
    head_sha: str
    base_sha: str  #: of the base branch when it was opened or merged
    created_at: datetime
    updated_at: datetime
    state: Literal["open", "merged", "closed"] = "open"
    draft: bool = False
    merge_sha: str | None = None
    squash_sha: str | None = None
    style: str = ""
    merged_by: int | None = None
    merged_at: datetime | None = None
    closed_by: int | None = None
    closed_at: datetime | None = None
    reviews: list[Review] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """Something that hooks are told."""

    name: (
        str  #: opened closed reopened merged edited pushed reviewed dismissed commented comment_edited labelled branch
    )
    repository: Repository
    actor: User
    at: datetime
    pull: Pull | None = None
    review: Review | None = None
    comment: Comment | None = None
    ref: str = ""
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class Delivery:
    """One POST to a webhook."""

    url: str
    headers: dict[str, str]
    body: bytes


def act(
    method: Callable[Concatenate[Base, P], R],
) -> Callable[Concatenate[Base, P], R]:
    """One act at a time: requests come in threads, and tests act beside them."""

    @wraps(method)
    def alone(self: Base, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return alone


class Base:
    """Accounts and repositories; what a dialect overrides to be one forge."""

    name = "plain"
    api_prefix = "/api"
    #: scopes of which one lets a token fetch, and push
    git_read: frozenset[str] = frozenset({"git"})
    git_write: frozenset[str] = frozenset({"git"})

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.ahead = timedelta()  #: a test moves the forge's clock
        self.url = ""  #: set by the server
        self.users: dict[int, User] = {}
        self.repositories: dict[int, Repository] = {}
        self.pulls: dict[tuple[int, int], Pull] = {}
        self.moved: dict[str, int] = {}
        self.notify: Callable[[Event], None] = lambda event: None  #: set by the server
        self._ids = itertools.count(1001)

    # --- for the dialect

    def routes(self) -> Sequence[BaseRoute]:
        """The REST API, below `api_prefix`."""
        return ()

    def spec(self) -> Spec | None:
        """What requests and answers are held against."""
        return None

    def deliveries(self, event: Event, hook: Hook) -> Sequence[Delivery]:
        """What a hook is told, if it wants to hear it."""
        return ()

    def denied(self, error: Denied) -> Any:
        """The body of a refusal."""
        return {"message": error.message}

    def headers(self, request: Request) -> dict[str, str]:
        """What every answer of the API carries."""
        return {}

    def token_in(self, request: Request) -> str:
        """The token of a request; empty: none."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() in ("bearer", "token") else request.headers.get("private-token", "")

    # --- accounts and repositories

    @property
    def api_url(self) -> str:
        """Where the REST API answers."""
        return f"{self.url}{self.api_prefix}"

    def now(self) -> datetime:
        """The forge's clock, in whole seconds as forges write it."""
        return (datetime.now(UTC) + self.ahead).replace(microsecond=0)

    def new_id(self) -> int:
        """A number that nothing else has."""
        return next(self._ids)

    @act
    def add_user(self, login: str, *, is_bot: bool = False, scopes: set[str] | None = None, token: str = "") -> User:
        """An account with one token."""
        user = User(self.new_id(), login, is_bot)
        user.tokens[token or f"token-of-{login}"] = scopes if scopes is not None else {"git"} | self.git_write
        self.users[user.id] = user
        return user

    @act
    def add_repository(
        self, owner: str, name: str, *, rights: Mapping[int, Right], files: Mapping[str, bytes], base: str = "main"
    ) -> Repository:
        """A repository with one commit."""
        number = self.new_id()
        repository = Repository(number, owner, name, self.folder / f"{number}.git", base, rights=dict(rights))
        gitwork.make_bare(repository.folder, base)
        first = gitwork.commit(repository.folder, None, files, "First", ("Ada", "ada@example.org"))
        gitwork.git(repository.folder, "update-ref", f"refs/heads/{base}", first)
        self.repositories[repository.id] = repository
        return repository

    @act
    def add_fork(self, user: User, of: Repository, name: str = "") -> Repository:
        """Somebody's own copy."""
        number = self.new_id()
        rights: dict[int, Right] = {user.id: "admin"}
        fork = Repository(
            number, user.login, name or of.name, self.folder / f"{number}.git", of.default_branch, rights=rights
        )
        gitwork.make_bare(fork.folder, of.default_branch)
        gitwork.git(fork.folder, "fetch", "-q", str(of.folder), "refs/heads/*:refs/heads/*")
        self.repositories[fork.id] = fork
        return fork

    @act
    def user(self, login: str) -> User:
        """By its name now."""
        for user in self.users.values():
            if user.login == login and not user.deleted:
                return user
        raise Denied(404, f"user {login} does not exist", "missing")

    @act
    def at(self, full_name: str) -> Repository:
        """By its name now; `Moved` for an old one."""
        for one in self.repositories.values():
            if one.full_name.lower() == full_name.lower():
                return one
        if full_name.lower() in self.moved:
            raise Moved(full_name, self.repositories[self.moved[full_name.lower()]].full_name)
        raise Denied(404, "Not Found", "missing")

    def token_of(self, login: str) -> str:
        """The first token of a user."""
        return next(iter(self.user(login).tokens))

    @act
    def bearer(self, token: str) -> tuple[User, set[str]] | None:
        """Whose token it is and what it may do."""
        for user in self.users.values():
            if token and token in user.tokens:
                return user, user.tokens[token]
        return None

    @act
    def may(self, user: User, repository: Repository, right: Right) -> bool:
        """Whether a user has at least this right."""
        return _RANK.get(repository.rights.get(user.id, ""), 0 if repository.private else 1) >= _RANK[right]

    def need(self, user: User, repository: Repository, right: Right) -> None:
        """`Denied` without the right; what one may not read is not there."""
        if not self.may(user, repository, "read"):
            raise Denied(404, "Not Found", "missing")
        if not self.may(user, repository, right):
            raise Denied(403, f"{user.login} may not do this in {repository.full_name}", "no right")
        if right != "read":
            self.need_alive(repository)

    def need_alive(self, repository: Repository) -> None:
        """`Denied` in one that was archived, also to those who need no more than to read."""
        if repository.archived:
            raise Denied(403, "Repository was archived so is read-only.", "archived")

    @act
    def rename(self, repository: Repository, name: str) -> None:
        """The old path answers 301 from now on."""
        self.moved[repository.full_name.lower()] = repository.id
        repository.name = name

    @act
    def delete_user(self, login: str) -> None:
        """What they wrote stays; their number is given to nobody else."""
        user = self.user(login)
        user.deleted = True
        user.tokens.clear()

    @act
    def expire(self, token: str) -> None:
        """The token is nobody's any more."""
        for user in self.users.values():
            user.tokens.pop(token, None)
