"""Who hosts pull requests: the forge that the settings name, the git behind it, and what looks at both.

Refuses a secret that others can read. Knows nothing of the store but its pool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.gitea import Gitea
from receiver.adapters.forge.github import GitHub
from receiver.adapters.forge.gitlab import GitLab
from receiver.adapters.forge.local import LocalForge, Merges
from receiver.adapters.forge.remote import Dialect, RemoteForge
from receiver.adapters.forge.settings import ForgeSettings, LocalForgeSettings
from receiver.config import Settings, check_secret
from receiver.domain.forge import Account, bot_account
from receiver.errors import Refused

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


def dialect_of(settings: ForgeSettings, base: str, secret: str | None = None) -> Dialect:
    """How this forge is spoken to; the secret is read from its file unless it is given."""
    return DIALECTS[settings.kind](settings, base, secret=secret if secret is not None else _secret(settings))


def remote_of(settings: Settings) -> Dialect | None:
    """The dialect of these settings; None on the built-in forge."""
    return dialect_of(settings.forge, settings.repo.base) if settings.forge.is_remote else None


def open_forge(settings: Settings, pool: AsyncConnectionPool[Any], git: Merges, dialect: Dialect | None) -> AnyForge:
    """The forge behind its ports."""
    if dialect is None:
        template = f"{settings.web.url}/proposals/{{number}}"
        return LocalForge(pool, git, LocalForgeSettings(base=settings.repo.base, url_template=template))
    return RemoteForge(
        dialect, pool, repository=repository_of(settings), base=settings.repo.base, account=bot_of(settings)
    )


def repository_of(settings: Settings) -> str:
    """The forge's own number of the repository; `local` on our own."""
    return _known(settings.forge.repository, "repository") if settings.forge.is_remote else "local"


def bot_of(settings: Settings) -> Account:
    """Our own account there."""
    forge = settings.forge
    if not forge.is_remote:
        return bot_account()
    return Account(forge=forge.kind, id=_known(forge.account, "account"), login=forge.login or forge.account)


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
