"""`gitmedic forge`: where pull requests are reviewed, and moving there and back.

Decides that a token is typed without an echo or lies in a file: never an argument, which `ps` shows.
"""

from __future__ import annotations

import getpass
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import clean, command, group, line, lines, run_async, say, show
from receiver.cli.open import existing
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.config import Settings
    from receiver.connecting.acts import Connected
    from receiver.connecting.wish import Wish

_File = Path | None


class _Kind(StrEnum):
    """What can be connected."""

    github = "github"
    gitea = "gitea"
    gitlab = "gitlab"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    forge = group("forge", "The forge on which pull requests are reviewed.")
    app.add_typer(forge)

    @command(forge, "connect")
    def connect(  # noqa: PLR0913, PLR0917 - one option each
        kind: Annotated[_Kind, typer.Argument(help="Forgejo is `gitea` as well.")],
        url: Annotated[str, typer.Argument(metavar="URL", help="The repository: https://HOST/OWNER/REPOSITORY.")],
        token_file: Annotated[
            _File, typer.Option(help="File with the token; without it the token is asked for.")
        ] = None,
        bot: Annotated[str, typer.Option(metavar="LOGIN", help="The account that gitmedic alone uses.")] = "",
        app_id: Annotated[str, typer.Option(help="GitHub App in the place of a token: its id.")] = "",
        app_installation: Annotated[str, typer.Option(help="And its installation's id.")] = "",
        app_key_file: Annotated[_File, typer.Option(help="And the file with its private key.")] = None,
        ca_file: Annotated[_File, typer.Option(help="Certificate of a private forge, or its authority.")] = None,
        api_url: Annotated[str, typer.Option(help="The REST API, where it does not follow from URL.")] = "",
        hook_url: Annotated[str, typer.Option(help="How the forge reaches this server; else web.public_url.")] = "",
        no_hook: Annotated[bool, typer.Option("--no-hook", help="Poll, and make no webhook.")] = False,
        allow_admin: Annotated[bool, typer.Option("--allow-admin", help="Accept an account with all rights.")] = False,
    ) -> None:
        """Move pull requests to a forge: history and claims go there, and the ops repository follows it.

        Everything is checked before anything changes; the same again is harmless. KIND is github, gitea or gitlab.
        """
        from receiver.connecting import acts
        from receiver.connecting.wish import Wish

        found = existing()
        wish = _whole(found, Wish(
            kind=kind.value, url=url.rstrip("/").removesuffix(".git"), api_url=api_url, token_file=token_file, bot=bot,
            app_id=app_id, app_installation=app_installation, app_key_file=app_key_file, ca_file=ca_file,
            hook_url=hook_url, no_hook=no_hook, allow_admin=allow_admin,
        ))  # fmt: skip
        made = run_async(acts.connect(found, wish, say))
        show({"schema": 1, **made.model_dump()}, lambda: _tell(found, made))
        say("next: restart gitmedic up, then gitmedic doctor")

    @command(forge, "show")
    def show_forge() -> None:
        """Which forge is connected, as whom, and how it is listened to."""
        found = existing().forge
        names = ("kind", "url", "repository", "account", "login", "webhook_secret_file", "ca_file", "poll_seconds")
        data: dict[str, Any] = {name: value for name in names if (value := getattr(found, name))}
        if not found.is_remote:
            data = {"kind": "local"}
        show({"schema": 1, **data}, lambda: lines(f"{name:<20} {clean(str(value))}" for name, value in data.items()))

    @command(forge, "disconnect")
    def disconnect() -> None:
        """Back to gitmedic's own review pages, with all history. Nothing on the forge is deleted but the webhook."""
        from receiver.connecting import acts

        done = run_async(acts.disconnect(existing(), say))
        show(done, lambda: line("pull requests are reviewed on gitmedic's own pages"))
        say("next: restart gitmedic up")


def _whole(found: Settings, wish: Wish) -> Wish:
    """With a token: named, kept from the last time, or typed now."""
    from receiver.connecting.acts import typed
    from receiver.connecting.wish import wished

    forge = wished(found, wish)
    if wish.token_file or forge.app_key_file:
        return wish
    known = found.forge.token_file
    if sys.stdin.isatty():
        again = " (empty: the one that is there)" if known and known.exists() else ""
        token = getpass.getpass(f"token{again}: ")
        if token.strip():
            return typed(wish, token)
    if known is None or not known.exists():
        raise Refused(
            f"connecting {wish.kind}: no token was given",
            next_step="put it into a file, chmod 600, and name it: --token-file FILE; or run this at a terminal",
            reason="invalid",
        )
    from dataclasses import replace

    return replace(wish, token_file=known)


def _tell(found: Settings, made: Connected) -> None:
    """For people: what it is now, then what is left to them."""
    line(f"pull requests are reviewed on {made.url}, opened by {made.login}")
    if made.pending:
        line(f"{made.pending} commits not adopted: gitmedic revision diff")
    for step in made.by_hand:
        line(f"by hand: {step}")
    for weakness in made.weaknesses:
        line(f"still weak: branch {found.repo.base!r}: {weakness}")
    line(made.posture)
