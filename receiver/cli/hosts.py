"""`gitmedic hosts`: the hosts of the inventory, whose host keys are believed, and proposing to add or remove one.

Decides that a host key is believed only when a person compared it, here or by its fingerprint. What stands in the
inventory is changed by people in the ops repository: `add` and `remove` propose, nothing more (rule S4).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import clean, command, group, line, run_async, say, show, table
from receiver.cli.open import existing, office
from receiver.errors import Invalid, Refused

if TYPE_CHECKING:
    from receiver.adapters.runner.hostkeys import HostKey
    from receiver.config import Settings
    from receiver.domain.inventory import Inventory
    from receiver.domain.run import Hop

Name = Annotated[str, typer.Argument(metavar="HOST", help="Name of the host in the inventory.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    hosts = group("hosts", "The hosts of the inventory, and whose host keys are believed.")
    app.add_typer(hosts)

    @command(hosts, "list")
    def list_hosts() -> None:
        """Every host of the inventory in force: how it is reached, and whether its host key is known."""
        run_async(_list())

    @command(hosts, "trust")
    def trust(
        host: Name,
        fingerprint: Annotated[str, typer.Option("--fingerprint", help="SHA256:… of one of its keys.")] = "",
        lines: Annotated[Path | None, typer.Option("--from", help="Lines of ssh-keyscan; - reads them.")] = None,
        replace: Annotated[bool, typer.Option("--replace", help="Its key was made anew, and I know why.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Believe what it shows, without a comparison.")] = False,
    ) -> None:
        """Believe a host's keys: shows their fingerprints and asks, or compares them with the one given."""
        run_async(_trust(host, fingerprint, lines, replace=replace, yes=yes))

    @command(hosts, "add")
    def add(
        host: Annotated[str, typer.Argument(metavar="NAME", help="As the inventory is to call it.")],
        address: Annotated[str, typer.Option("--address", help="Where it answers; its name when not given.")] = "",
        user: Annotated[str, typer.Option("--user", help="Who logs in there.")] = "",
        port: Annotated[int, typer.Option("--port", help="Of SSH.")] = 22,
        site: Annotated[str, typer.Option("--site", help="Where it stands.")] = "home",
        jump: Annotated[list[str], typer.Option("--jump", help="By way of this host; again for the next.")] = [],  # noqa: B006
        match: Annotated[list[str], typer.Option("--match", help="Matchers of alerts that mean it.")] = [],  # noqa: B006
    ) -> None:
        """Propose a new host of the inventory. In force once people accepted it."""
        given = {"address": address, "user": user, "port": port if port != 22 else 0, "site": site}
        run_async(_add(host, {**given, "jump": jump, "match": match}))

    @command(hosts, "remove")
    def remove(host: Name) -> None:
        """Print the patch that takes a host out of the inventory, for `git apply` in the work tree."""
        run_async(_remove(host))


async def _list() -> None:
    from receiver.adapters.runner.hostkeys import known
    from receiver.enlisting import Enlisting

    async with office() as opened:
        inventory, items = await Enlisting(opened).inventory(), await Enlisting(opened).listed()
    place, owners = _place(existing()), dict[Any, str]()
    for item in items:
        keys = await known(_hop(inventory, item["name"]), place) if item["connection"] == "ssh" else []
        twin = next((owners[key] for key in keys if key in owners), "")
        owners |= {key: item["name"] for key in keys}
        item |= {"keys": [key.fingerprint for key in keys], "key_of": twin}
    columns = ("name", "address", "user", "by way of", "site", "host key")
    cells = [[one["name"], _address(one), one["user"], " ".join(one["jump"]), one["site"], _word(one)] for one in items]
    show({"items": items, "next": None}, lambda: table(columns, cells))
    missing = next((one["name"] for one in items if one["connection"] == "ssh" and not one["keys"]), None)
    if missing:
        say(f"next: gitmedic hosts trust {missing}")


async def _trust(name: str, fingerprint: str, lines: Path | None, *, replace: bool, yes: bool) -> None:
    from receiver.adapters.runner import hostkeys
    from receiver.enlisting import Enlisting

    async with office() as opened:
        inventory = await Enlisting(opened).inventory()
    host, doing = _hop(inventory, name), f"trusting {name}"
    keys = hostkeys.read_keys(_read(lines)) if lines is not None else await _scanned(inventory, host)
    if not keys:
        raise Invalid("no host key is in it", where=str(lines), next_step="ssh-keyscan prints such lines")
    if fingerprint:
        keys = hostkeys.matching(keys, fingerprint, doing)
    elif not yes:
        _ask(host, keys, doing)
    others = [other for other in _hops(inventory) if other.name != name]
    before = await hostkeys.trust(host, keys, _place(existing()), others, replace=replace)
    shown = [{"kind": key.kind, "fingerprint": key.fingerprint} for key in keys]
    replaced = [key.fingerprint for key in before if key not in keys] if replace else []
    data = {"schema": 1, "name": name, "address": hostkeys.name_of(host), "keys": shown, "replaced": replaced}
    show(data, lambda: line(f"{name} is known by {', '.join(key.fingerprint for key in keys)}"))


async def _add(name: str, said: dict[str, Any]) -> None:
    from receiver.enlisting import Enlisting
    from receiver.starter import os_user

    async with office() as opened:
        made = await Enlisting(opened).add(name, said, actor=f"os:{os_user()}")
    show(made, lambda: line(f"proposed {name} in {made['path']}: {made['url'] or made['commit']}"))
    say(f"next: {made['next_step']}, then gitmedic hosts trust {name}")


async def _remove(name: str) -> None:
    from receiver.enlisting import Enlisting

    async with office() as opened:
        made = await Enlisting(opened).remove(name)
    show(made, lambda: line(str(made["patch"]).removesuffix("\n")))
    say(f"next: {made['next_step']}")


async def _scanned(inventory: Inventory, host: Hop) -> list[HostKey]:
    from receiver.adapters.runner.hostkeys import scanned

    jump = inventory.hosts[host.name].jump
    if jump:
        raise Refused(
            f"trusting {host.name}: it is reached by way of {jump[-1]} only, where its keys must be asked for",
            next_step=f"ssh {jump[-1]} ssh-keyscan -p {host.port} {host.address} | "
            f"gitmedic hosts trust {host.name} --from -   # with --fingerprint",
        )
    return await scanned(host)


def _ask(host: Hop, keys: list[HostKey], doing: str) -> None:
    """A person compares; anything but `yes` is a no."""
    from receiver.adapters.runner.hostkeys import name_of

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            f"{doing}: somebody has to compare its keys, and this is no terminal",
            next_step=f"gitmedic hosts trust {host.name} --fingerprint {keys[0].fingerprint}, after comparing it",
            reason="not_a_terminal",
        )
    say(f"{name_of(host)} shows:")
    for key in keys:
        say(f"  {key.fingerprint} ({clean(key.kind)})")
    say("compare on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    sys.stderr.write("type yes to believe them: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise Refused(f"{doing}: nothing was believed", reason="not_typed")


def _hops(inventory: Inventory) -> list[Hop]:
    return [_hop(inventory, name) for name, host in sorted(inventory.hosts.items()) if host.connection == "ssh"]


def _hop(inventory: Inventory, name: str) -> Hop:
    from receiver.domain.job import hop_of

    host = inventory.hosts.get(name)
    if host is None or host.connection != "ssh":
        said = "it is not reached by SSH" if host else "it is not in the inventory in force"
        raise Refused(f"looking up host {name!r:.80}: {said}", next_step="gitmedic hosts list", reason="invalid")
    return hop_of(host)


def _address(item: dict[str, Any]) -> str:
    if item["connection"] != "ssh":
        return str(item["connection"])
    return str(item["address"]) if item["port"] == 22 else f"{item['address']}:{item['port']}"


def _word(item: dict[str, Any]) -> str:
    if item["connection"] != "ssh":
        return "none needed"
    if item["key_of"]:
        return f"the same as {item['key_of']}: no run touches both"
    return str(item["keys"][0]) if item["keys"] else "not known"


def _place(settings: Settings) -> Path:
    return settings.runner.known_hosts or settings.data_dir / "known_hosts"


def _read(lines: Path) -> str:
    try:
        return sys.stdin.read() if str(lines) == "-" else lines.read_text("utf-8", "replace")
    except OSError as error:
        raise Refused(f"reading {str(lines)!r}: {error.strerror}", next_step="name a file", reason="invalid") from error
