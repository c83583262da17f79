"""`gitmedic forge`: where pull requests are reviewed, and moving there and back.

Decides that a token is typed without an echo or lies in a file: never an argument, which `ps` shows.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import clean, command, group, line, lines, run_async, say, show
from receiver.cli.open import existing
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.adapters.forge.settings import ForgeSettings
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
        place: Annotated[str, typer.Option(metavar="NAME", help="Only the runs of some sites go there.")] = "",
        site: Annotated[
            list[str] | None, typer.Option(help="With --place: such a site; none: all that no place names.")
        ] = None,
        prefix: Annotated[str | None, typer.Option(help="With --place: the folder of it for run files.")] = None,
        base: Annotated[str, typer.Option(help="With --place: its protected branch; else the default one.")] = "",
    ) -> None:
        """Move pull requests to a forge: history and claims go there, and the ops repository follows it.

        With `--place NAME` the catalog stays where it is, and runs of the named sites are proposed there.
        Everything is checked before anything changes; the same again is harmless. KIND is github, gitea or gitlab.
        """
        from receiver.connecting import acts, places
        from receiver.connecting.wish import Wish

        found = existing()
        if not place and (site or prefix is not None or base):
            raise Refused(
                "connecting a forge: --site, --prefix and --base are of a place", next_step="add --place NAME",
                reason="invalid",
            )  # fmt: skip
        wish = _whole(found, Wish(
            kind=kind.value, url=url.rstrip("/").removesuffix(".git"), api_url=api_url, token_file=token_file, bot=bot,
            app_id=app_id, app_installation=app_installation, app_key_file=app_key_file, ca_file=ca_file,
            hook_url=hook_url, no_hook=no_hook, allow_admin=allow_admin, place=place, sites=tuple(site or ()),
            prefix=prefix, base=base,
        ))  # fmt: skip
        made = run_async((places if place else acts).connect(found, wish, say))
        show({"schema": 1, **made.model_dump()}, lambda: _tell(found, made))
        say("next: restart gitmedic up, then gitmedic doctor")

    @command(forge, "show")
    def show_forge() -> None:
        """Which forge is connected, as whom, and how it is listened to; then every place beside the catalog's."""
        found = existing()
        data = _shown(found.forge)
        places = [
            {"place": name, "sites": list(one.sites) or ["*"], "base": one.base, "prefix": one.prefix}
            | _shown(one.forge)
            for name, one in found.places.items()
        ]  # fmt: skip
        show({"schema": 1, **data, "places": places}, lambda: lines(_rows([data, *places])))

    @command(forge, "disconnect")
    def disconnect(
        place: Annotated[str, typer.Option(metavar="NAME", help="Only this place; the catalog's forge stays.")] = "",
    ) -> None:
        """Back to gitmedic's own review pages, with all history. Nothing on the forge is deleted but the webhook."""
        from receiver.connecting import acts, places

        found = existing()
        done = run_async(places.disconnect(found, place, say) if place else acts.disconnect(found, say))
        told = "pull requests are reviewed on gitmedic's own pages"
        show(done, lambda: line(f"place {place!r} takes no runs any more" if place else told))
        say("next: restart gitmedic up")


def _shown(forge: ForgeSettings) -> dict[str, Any]:
    names = ("kind", "url", "repository", "account", "login", "webhook_secret_file", "ca_file", "poll_seconds")
    return {name: value for name in names if (value := getattr(forge, name))} if forge.is_remote else {"kind": "local"}


def _rows(tables: list[dict[str, Any]]) -> Iterator[str]:
    for number, data in enumerate(tables):
        if number:
            yield ""
        for name, value in data.items():
            yield f"{name:<20} {clean(', '.join(value) if isinstance(value, list) else str(value))}"


def _whole(found: Settings, wish: Wish) -> Wish:
    """With a token: named, kept from the last time, or typed now."""
    from receiver.connecting.acts import typed
    from receiver.connecting.wish import wished

    view = found.at(wish.place) if wish.place in found.places else found
    forge = wished(view, wish)
    if wish.token_file or forge.app_key_file:
        return wish
    known = None if wish.place and wish.place not in found.places else view.forge.token_file
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
    whose = f"of place {made.place!r} " if made.place else ""
    line(f"pull requests {whose}are reviewed on {made.url}, opened by {made.login}")
    if made.pending:
        line(f"{made.pending} commits not adopted: gitmedic revision diff")
    for step in made.by_hand:
        line(f"by hand: {step}")
    for weakness in made.weaknesses:
        line(f"still weak: branch {found.repo.base!r}: {weakness}")
    line(made.posture)
