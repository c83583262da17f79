"""`gitmedic lock`, `unlock`, `pause` and `resume`: a person's hand on the brake."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from receiver.cli.command import command, line, run_async, show, table
from receiver.cli.exits import Code
from receiver.cli.open import store
from receiver.errors import Refused

_TIME = re.compile(r"([1-9][0-9]{0,4})([smhd])", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
Host = Annotated[str, typer.Argument(metavar="HOST", help="A host of the inventory, or the name of a lock.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "lock")
    def lock(
        host: Annotated[str, typer.Argument(metavar="HOST", help="Without it: all locks.")] = "",
        reason: Annotated[str, typer.Option("--reason", help="Shown to whatever waits for it.")] = "",
        for_: Annotated[
            str, typer.Option("--for", metavar="TIME", help="Frees itself after so long: 30m, 2h, 1d.")
        ] = "",
    ) -> None:
        """Keep every run away from a host until `gitmedic unlock`; without a host, list the locks and who waits."""
        run_async(_lock(host, reason, _seconds(for_)) if host else _list())

    @command(app, "unlock")
    def unlock(host: Host) -> None:
        """Take back a lock that a person made."""
        run_async(_unlock(host))

    @command(app, "pause")
    def pause(
        reason: Annotated[str, typer.Option("--reason", help="Shown on every page.")] = "no reason given",
    ) -> None:
        """Let nothing start until `gitmedic resume`. Alerts are still stored, runs under way go on."""
        run_async(_pause(reason))

    @command(app, "resume")
    def resume() -> None:
        """Let things start again."""
        run_async(_pause(None))


async def _list() -> None:
    async with store() as opened:
        rows, queue = await opened.locks.all(), await opened.locks.waiting()
    columns = ("name", "reason", "run", "case_id", "taken_at", "until")
    cells = [[row.get(one) for one in columns] for row in rows]

    def told() -> None:
        table(columns, cells)
        if queue:
            line("")
            waits = [[one["position"], one["reason"], one["since"], one["waits_for"]] for one in queue]
            table(("position", "waits", "since", "because"), waits)

    show({"items": rows, "queue": queue, "next": None}, told)


async def _lock(host: str, reason: str, seconds: float | None) -> None:
    from receiver.starter import os_user

    async with store() as opened:
        why = f"os:{os_user()}: {reason or 'no reason given'}"
        taken = await opened.locks.hold(_name(host), why, seconds=seconds)
        holders = {} if taken else {row["name"]: row["reason"] for row in await opened.locks.all()}
    if not taken:
        holder = holders.get(_name(host), "somebody, a moment ago")
        raise Refused(f"locking {host!r}: it is held by {holder}", next_step="gitmedic lock", reason="locked")
    said = {"schema": 1, "name": _name(host), "reason": why, "seconds": seconds}
    show(said, lambda: line(f"{host} is locked" + (f" for {seconds:.0f} s" if seconds else "")))


async def _unlock(host: str) -> None:
    async with store() as opened:
        freed = await opened.locks.release(_name(host))
    if not freed:
        raise Refused(f"unlocking {host!r}: no person holds it", next_step="gitmedic lock", reason="invalid")
    show({"schema": 1, "name": _name(host), "released": True}, lambda: line(f"{host} is free"))


async def _pause(reason: str | None) -> Code:
    from receiver.starter import os_user

    why = None if reason is None else f"{reason} (os:{os_user()})"
    async with store() as opened:
        await opened.ledger.pause(why)
    show({"schema": 1, "paused": why}, lambda: line(f"paused: {why}" if why else "resumed"))
    return Code.OK


def _seconds(text: str) -> float | None:
    """`90s`, `30m`, `2h` or `1d`; nothing: for good."""
    if not text:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise Refused(f"reading --for {text!r:.40}: a number and s, m, h or d", next_step="--for 2h", reason="invalid")
    return int(found[1]) * _UNITS[found[2]]


def _name(host: str) -> str:
    """A plain word is a host; `group:…` is taken as it is."""
    return host if ":" in host else f"host:{host}"
