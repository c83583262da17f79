"""`gitmedic memory`: what is remembered of closed cases, an operator's own notes, and forgetting."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from receiver.cli.cases import resolve
from receiver.cli.command import clean, command, field, given, group, line, run_async, say, show, table
from receiver.cli.open import store
from receiver.errors import Refused

Id = Annotated[str, typer.Argument(metavar="ID", help="As `gitmedic memory list` shows it; of a case also its number.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
_COLUMNS = ("at", "kind", "id", "alertname", "outcome", "text", "author", "tags")
_TAG = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,40}")
_MOST_TAGS = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    memory = group("memory", "What became of past cases, and your own notes. Recalled for a plan, never as evidence.")
    app.add_typer(memory)
    _writing(memory)
    _reading(memory)


def _writing(memory: typer.Typer) -> None:
    @command(memory, "add")
    def add(
        text: Annotated[str, typer.Argument(help="What to know next time, in one line.")],
        alertname: Annotated[str, typer.Option("--alertname", help="Of which alert it speaks.")] = "",
        tag: Annotated[list[str], typer.Option("--tag", help="A word to find it by; repeat it.")] = [],  # noqa: B006 - typer copies it
    ) -> None:
        """Note something. A planner may read it as your word; nothing is bound to it, and it proves nothing."""
        run_async(_add(text, alertname, tag))

    @command(memory, "forget")
    def forget(
        id: Id,
        reason: Annotated[str, typer.Option("--reason", help="Kept beside your name.")] = "",
    ) -> None:
        """Take one entry out of the memory for good. The case itself stays; that it was forgotten is recorded."""
        run_async(_forget(id, reason))


def _reading(memory: typer.Typer) -> None:
    @command(memory, "list")
    def list_all(
        kind: Annotated[str, typer.Option("--kind", help="case or note.")] = "",
        tag: Annotated[str, typer.Option("--tag", help="Notes with this word.")] = "",
        limit: Limit = 50,
        cursor: Annotated[str | None, typer.Option("--cursor", help="`next` of the page before.")] = None,
    ) -> None:
        """What is remembered, newest first."""
        run_async(_list(kind, tag, limit, cursor))

    @command(memory, "show")
    def show_one(id: Id) -> None:
        """Everything that is kept of one entry."""
        run_async(_show(id))

    @command(memory, "search")
    def search(
        words: Annotated[list[str], typer.Argument(help="Words, or the name of an alert.")],
        limit: Annotated[int, typer.Option("--limit", min=1, max=50, help="At most so many.")] = 10,
    ) -> None:
        """What a plan would be told for these words, nearest first: verified cases and notes."""
        run_async(_search(" ".join(words), limit))

    @command(memory, "history")
    def history(
        alertname: Annotated[str, typer.Argument(metavar="ALERTNAME", help="Name of an alert.")],
        limit: Limit = 20,
    ) -> None:
        """What became of the past cases of an alert: each end with its number, and the last cases."""
        run_async(_history(alertname, limit))


async def _add(text: str, alertname: str, tags: list[str]) -> None:
    from receiver.starter import os_user

    wrong = next((tag for tag in tags if not _TAG.fullmatch(tag)), None)
    if wrong is not None:
        raise Refused(
            f"adding a note: tag {wrong!r:.60} has more than small letters, digits, dot, colon, dash, underscore",
            next_step="--tag disk", reason="invalid",
        )  # fmt: skip
    if len(tags) > _MOST_TAGS:
        raise Refused(
            f"adding a note: {len(tags)} tags, {_MOST_TAGS} is the most", next_step="--tag disk", reason="invalid"
        )
    async with store() as opened:
        made = await opened.notebook.add(text, author=f"os:{os_user()}", alertname=alertname, tags=tags)
    show({"schema": 1, **made}, lambda: line(made["id"]))
    say(f"take it back with: gitmedic memory forget {made['id']}")


async def _forget(id: str, reason: str) -> None:
    from receiver.starter import os_user

    async with store() as opened:
        id = await resolve(opened.archive, id)
        gone = await opened.notebook.forget(id, by=f"os:{os_user()}", reason=reason)
    if gone is None:
        raise _unknown("forgetting", id)
    show(
        {"schema": 1, "forgotten": gone}, lambda: line(f"forgotten: {gone['kind']} {gone['id']}: {clean(gone['text'])}")
    )


async def _list(kind: str, tag: str, limit: int, cursor: str | None) -> None:
    if kind not in ("", "case", "note"):
        raise Refused(f"listing the memory: there is no kind {kind!r:.40}", next_step="--kind note", reason="invalid")
    async with store() as opened:
        page = await opened.notebook.page(limit=limit, cursor=cursor, kind=kind or None, tag=tag or None)
    show({"items": page.items, "next": page.next}, lambda: _table(page.items, "nothing is remembered yet"))
    if page.next and not given().json:
        say(f"more: --cursor {page.next}")


async def _show(id: str) -> None:
    async with store() as opened:
        id = await resolve(opened.archive, id)
        found = await opened.notebook.one(id)
    if found is None:
        raise _unknown("showing", id)
    show({"schema": 1, **found}, lambda: _print(found))


async def _search(text: str, limit: int) -> None:
    async with store() as opened:
        found = await opened.memory.search(text, limit)
    items = [one.model_dump(mode="json") for one in found]
    show({"items": items, "next": None}, lambda: _table(items, "nothing is near"))


async def _history(alertname: str, limit: int) -> None:
    async with store() as opened:
        found = await opened.notebook.history(alertname, limit)
    show({"schema": 1, "alertname": alertname, **found}, lambda: _print_history(found))


def _unknown(doing: str, id: str) -> Refused:
    return Refused(f"{doing} {id!r:.60}: nothing is remembered under it", next_step="gitmedic memory list",
                   reason="unknown_memory")  # fmt: skip


def _table(items: Any, empty: str) -> None:
    if not items:
        say(empty)
        return
    table(_COLUMNS, [[_cell(item, column) for column in _COLUMNS] for item in items])


def _cell(item: dict[str, Any], column: str) -> Any:
    value = item.get(column)
    if column == "at":
        return str(value)[:19].replace("T", " ")
    return ", ".join(value) if isinstance(value, list | tuple) else value


def _print(one: dict[str, Any]) -> None:
    names = ("id", "kind", "at", "text", "alertname", "entity_kind", "entity", "site", "playbook", "params", "outcome",
             "verdict", "seconds", "author", "tags")  # fmt: skip
    for name in names:
        if one.get(name) not in (None, "", []):
            field(name, _cell(one, name))
    field("recalled", "yes" if one["is_recalled"] else "no: it was not verified")
    if one["kind"] == "case":
        say(f"next: gitmedic case show {one['id']}")


def _print_history(found: dict[str, list[dict[str, Any]]]) -> None:
    if not found["tally"] and not found["items"]:
        say("no case of it was closed yet")
    if found["tally"]:
        columns = ("playbook", "outcome", "number", "last")
        rows = [[one["playbook"] or "(none)", one["outcome"], one["number"], one["last"]] for one in found["tally"]]
        table(columns, rows)
        line("")
    if found["items"]:
        _table(found["items"], "")
    for one in found["forgotten"]:
        why = f": {one['reason']}" if one["reason"] else ""
        line(f"forgotten: {one['kind']} {one['id']} by {clean(one['by'])} at {one['at']:%Y-%m-%d %H:%M}{clean(why)}")
