"""What a person asks for with `gitmedic forge connect`, read and checked before anybody is asked anything.

Refuses addresses that are none of a repository, a token over plain http, and what does not belong to that forge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from receiver.adapters.forge.settings import ForgeSettings
from receiver.config import Settings, check_secret
from receiver.errors import Refused

TOKEN, WEBHOOK = "forge-token", "forge-webhook"


@dataclass(frozen=True)
class Wish:
    """The command's words. A token is either in a file that is named, or typed."""

    kind: str
    url: str
    api_url: str = ""
    token_file: Path | None = None
    app_id: str = ""
    app_installation: str = ""
    app_key_file: Path | None = None
    ca_file: Path | None = None
    bot: str = ""  #: login of the account that gitmedic alone uses
    allow_admin: bool = False
    hook_url: str = ""  #: how the forge reaches this server
    no_hook: bool = False
    place: str = ""  #: a place beside the catalog's repository, by its name in the settings
    sites: tuple[str, ...] = ()  #: whose runs go there; none: as it is, or all that no other place names
    prefix: str | None = None  #: None: as it is
    base: str = ""  #: empty: as it is, or the forge's default branch
    typed: str = field(default="", repr=False)  #: a token from the terminal


def secret_path(settings: Settings, name: str, place: str = "") -> Path:
    """Where a secret of ours lies."""
    return settings.data_dir / "secrets" / (f"{place}.{name}" if place else name)


def wished(settings: Settings, wish: Wish) -> ForgeSettings:
    """The settings that would be written, without what only the forge knows."""
    _check_address(wish)
    said: dict[str, Any] = {"kind": wish.kind, "url": wish.url, "write_seconds": settings.forge.write_seconds}
    if wish.api_url:
        said["api_url"] = wish.api_url
    said["timeout_seconds"] = settings.forge.timeout_seconds
    is_app = bool(wish.app_id or wish.app_installation or wish.app_key_file)
    if is_app:
        said |= {"app_id": wish.app_id, "app_installation": wish.app_installation}
        said["app_key_file"] = wish.app_key_file.absolute() if wish.app_key_file else None
    if wish.token_file or not is_app:
        said["token_file"] = wish.token_file.absolute() if wish.token_file else secret_path(settings, TOKEN, wish.place)
    if wish.ca_file:
        said["ca_file"] = wish.ca_file.absolute()
    try:
        return ForgeSettings.model_validate(said)
    except ValidationError as error:
        words = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors(include_input=False))
        raise Refused(
            f"connecting {wish.kind} at {_shown(wish.url)!r}: {words}",
            next_step="gitmedic forge connect --help",
            reason="invalid",
        ) from None


def secret_of(forge: ForgeSettings, wish: Wish) -> str:
    """The token, or the App's key."""
    if wish.typed:
        return wish.typed
    file = forge.app_key_file or forge.token_file
    assert file is not None  # noqa: S101 - the settings were validated
    if not file.exists():
        raise Refused(
            f"connecting {wish.kind}: no token is there",
            next_step="put it into a file, chmod 600, and name it: --token-file FILE; or run this at a terminal",
            reason="invalid",
        )
    check_secret(file, what="the token of the forge")
    secret = file.read_text("utf-8", "replace").strip()
    if not secret:
        raise Refused(f"reading the token from {str(file)!r}: it is empty", reason="invalid")
    return secret


def _check_address(wish: Wish) -> None:
    parts = urlsplit(wish.url)
    path = [part for part in parts.path.split("/") if part]
    fine = parts.scheme in ("http", "https") and parts.hostname and not parts.fragment and len(path) >= 2
    if not fine or "-" in path or (wish.kind != "gitlab" and len(path) != 2):
        raise Refused(
            f"connecting {wish.kind}: {_shown(wish.url)!r} is no address of a repository",
            next_step="give it as the browser shows it: https://HOST/OWNER/REPOSITORY, without anything behind it",
            reason="invalid",
        )


def _shown(url: str) -> str:
    """Without a password that somebody put into it."""
    parts = urlsplit(url)
    return url.replace(parts.netloc, parts.netloc.rpartition("@")[2]) if "@" in parts.netloc else url[:200]
