"""Who hosts pull requests: the forge that the settings name, the git behind it, and what looks at both.

Refuses a secret that others can read. Knows nothing of the store but its pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.github import GitHub
from receiver.adapters.forge.gitlab import GitLab
from receiver.adapters.forge.local import LocalForge, Merges
from receiver.adapters.forge.realm import in_realm
from receiver.adapters.forge.remote import Dialect, RemoteForge
from receiver.adapters.forge.settings import ForgeSettings, LocalForgeSettings
from receiver.adapters.repo.creation import create_mirror, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.runs import RunRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.config import Settings, check_secret
from receiver.domain.forge import Account, bot_account
from receiver.domain.place import key_of
from receiver.elsewhere import realm_of, routing_of
from receiver.errors import Conflict, Refused
from receiver.places import Place, Places, gone

DIALECTS: dict[str, Callable[..., Dialect]] = {"github": GitHub, "gitea": Gitea, "gitlab": GitLab}
AnyForge = LocalForge | RemoteForge


@dataclass(frozen=True)
class ForgeGit:
    """The upstream of our mirror: the address of the forge's git, and its login of now."""

    settings: ForgeSettings
    dialect: Dialect

    @property
    def url(self) -> str:
        """What git fetches from and pushes to."""
        return self.settings.git_url

    @property
    def ca_file(self) -> Path | None:
        """The pinned certificate, or its authority."""
        return self.settings.ca_file

    async def login(self) -> tuple[str, str]:
        """User and password."""
        return await self.dialect.login()

    @property
    def ssh_command(self) -> str:
        """A forge's git is spoken to by https."""
        return ""


@dataclass(frozen=True)
class RepoGit:
    """The upstream of an executor far from the built-in forge: the ops repository itself, by git alone."""

    settings: RepoSettings

    @property
    def url(self) -> str:
        """What git fetches from and claims at."""
        return self.settings.url

    @property
    def ca_file(self) -> Path | None:
        """A certificate, or its authority, that is trusted in the system's place."""
        return self.settings.ca_file

    @property
    def ssh_command(self) -> str:
        """One key, one known host, and nothing of the user's own settings."""
        if not self.url.startswith("ssh:"):
            return ""
        key, known = self.settings.ssh_key_file, self.settings.known_hosts_file
        if key is None or known is None:
            raise Refused(
                f"reaching the ops repository at {self.url}: its key or its known host is not named",
                next_step="set repo.ssh_key_file and repo.known_hosts_file",
                reason="repo_settings",
            )
        check_secret(key, what="the key of the ops repository")
        said = {
            "BatchMode": "yes", "IdentitiesOnly": "yes", "IdentityAgent": "none", "IdentityFile": _literal(key),
            "UserKnownHostsFile": _literal(known), "GlobalKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no", "ForwardAgent": "no", "ConnectTimeout": "10",
        }  # fmt: skip
        return " ".join(["ssh", "-F", "none", *(shlex.quote(f"-o{name}={value}") for name, value in said.items())])

    async def login(self) -> tuple[str, str]:
        """User and password; nothing where the address needs none."""
        file = self.settings.token_file
        if file is None:
            return "", ""
        check_secret(file, what="the password of the ops repository")
        return self.settings.login, (await asyncio.to_thread(file.read_text, "utf-8")).strip()


def _literal(path: Path) -> str:
    """As ssh reads a file's name: its own tokens are no more than signs."""
    return str(path).replace("%", "%%")


def upstream_of(settings: Settings, dialect: Dialect | None) -> ForgeGit | RepoGit | None:
    """What the ops repository of these settings follows; None: it is itself the one."""
    if dialect is not None:
        return ForgeGit(settings.forge, dialect)
    if not settings.repo.url:
        return None
    if not settings.repo.path.exists():
        with contextlib.suppress(Conflict):  # another process of ours was first
            create_mirror(settings.repo.path, settings.repo.url, settings.repo.base)
    return RepoGit(settings.repo)


def dialect_of(settings: ForgeSettings, base: str, secret: str | None = None) -> Dialect:
    """How this forge is spoken to; the secret is read from its file unless it is given."""
    return DIALECTS[settings.kind](settings, base, secret=secret if secret is not None else _secret(settings))


def remote_of(settings: Settings, realm: str = "") -> Dialect | None:
    """The dialect of these settings, its accounts by the forge's kind or by `realm`; None on the built-in forge."""
    if not settings.forge.is_remote:
        return None
    return in_realm(dialect_of(settings.forge, settings.repo.base), realm or settings.forge.kind)


def open_forge(
    settings: Settings,
    pool: AsyncConnectionPool[Any],
    git: Merges,
    dialect: Dialect | None,
    place: str = "",
    realm: str = "",
) -> AnyForge:
    """The forge behind its ports; `settings` are those of the place."""
    base, key = settings.repo.base, key_of(place, repository_of(settings))
    if dialect is None:
        template = f"{settings.web.url}/proposals/{place}{'/' if place else ''}{{number}}"
        return LocalForge(pool, git, LocalForgeSettings(base=base, url_template=template, repository=key))
    return RemoteForge(dialect, pool, repository=key, base=base, account=bot_of(settings, realm))


@asynccontextmanager
async def open_places(
    settings: Settings,
    pool: AsyncConnectionPool[Any],
    ops: OpsRepository,
    dialect: Dialect | None,
    *,
    may_make: bool = True,
) -> AsyncIterator[tuple[Places, tuple[RunRepository, ...]]]:
    """All places that take run files, and the repositories of those beside the catalog's.

    `may_make`: one without a forge is made here when it is not there; an executor elsewhere would make another. One
    that cannot be opened stops no other: whatever is asked there is refused, saying why.
    """
    async with AsyncExitStack() as stack:
        others, repos = {}, []
        for name in settings.places:
            try:
                _check_reached(settings, name, may_make=may_make and not settings.repo.url)
                realm = realm_of(settings.forge, settings.places, name)
                others[name], repo = await _open(settings.at(name), pool, name, realm, stack)
                repos.append(repo)
            except Refused as error:
                others[name] = gone(name, error)
        main = _place(settings, pool, ops, dialect)
        yield Places(main, others, routing_of(settings.places)), tuple(repos)


async def _open(
    settings: Settings, pool: AsyncConnectionPool[Any], name: str, realm: str, stack: AsyncExitStack
) -> tuple[Place, RunRepository]:
    repository_of(settings)  # asked first: one that was never connected is refused before anything is made for it
    dialect = remote_of(settings, realm)
    if dialect is not None:
        stack.push_async_callback(dialect.aclose)
    upstream = await asyncio.to_thread(upstream_of, settings, dialect)
    await asyncio.to_thread(make_repository, settings, name)
    repo = RunRepository(settings.repo, upstream)
    stack.push_async_callback(repo.close)
    return _place(settings, pool, repo, dialect, name, realm), repo


def _check_reached(settings: Settings, name: str, *, may_make: bool) -> None:
    """On an executor's machine, one that lies on the planner's is fetched from there or not known at all."""
    place = settings.places[name]
    if place.forge.is_remote:
        return
    if may_make and place.url:
        raise Refused(
            f"opening place {name!r}: it lies here, and places.{name}.url would have it fetched from {place.url!r:.80}",
            next_step=f"take places.{name}.url out of this file: it is for executors on other machines",
            reason="place",
        )
    if not may_make and not place.url and (settings.repo.url or not settings.at(name).repo.path.exists()):
        raise Refused(
            f"opening place {name!r}: it lies on the planner's machine, and places.{name}.url is empty",
            next_step=f"set places.{name}.url to where this machine fetches it, beside repo.url",
            reason="place",
        )


def make_repository(settings: Settings, name: str) -> None:
    """Where there is none on this machine: a mirror of the forge's, or one of our own with nothing in it."""
    path = settings.repo.path
    if path.exists():
        return
    with contextlib.suppress(Conflict):  # another process of ours was first
        if settings.forge.is_remote:
            create_mirror(path, settings.forge.git_url, settings.repo.base)
        else:
            words = {"README.md": f"# {name}\n\nRun files of gitmedic.\n".encode()}
            author = f"{settings.repo.author_name} <{settings.repo.author_email}>"
            create_ops_repository(path, words, author, base=settings.repo.base)


def _place(
    settings: Settings, pool: AsyncConnectionPool[Any], repo: RunRepository, dialect: Dialect | None, name: str = "",
    realm: str = "",
) -> Place:  # fmt: skip
    forge = open_forge(settings, pool, repo, dialect, name, realm)
    return Place(
        branches=repo, forge=forge, hosting=forge, review=forge, name=name, repository=repository_of(settings),
        base=settings.repo.base, prefix=settings.repo.prefix, bot=bot_of(settings, realm),
    )  # fmt: skip


def repository_of(settings: Settings) -> str:
    """The forge's own number of the repository; `local` on our own."""
    return _known(settings.forge.repository, "repository") if settings.forge.is_remote else "local"


def bot_of(settings: Settings, realm: str = "") -> Account:
    """Our own account there."""
    forge = settings.forge
    if not forge.is_remote:
        return bot_account()
    return Account(forge=realm or forge.kind, id=_known(forge.account, "account"), login=forge.login or forge.account)


def _known(value: str, name: str) -> str:
    if not value:
        raise Refused(
            f"opening the forge: forge.{name} is not set, so nothing there can be told from a stranger's",
            next_step="gitmedic forge connect, which finds it out and writes it",
            reason="forge_settings",
        )
    return value


def _secret(settings: ForgeSettings) -> str:
    file = settings.app_key_file or settings.token_file
    if file is None:
        raise Refused("opening the forge: no token is named", next_step="gitmedic forge connect", reason="token")
    what = "the key of the GitHub App" if settings.app_key_file else "the token of the forge"
    check_secret(file, what=what)
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"reading {what} from {str(file)!r}: {error}", next_step="gitmedic forge connect") from None
    if not secret:
        raise Refused(f"reading {what} from {str(file)!r}: it is empty", next_step="gitmedic forge connect")
    return secret
