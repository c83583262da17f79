"""`gitmedic schedule`: what policy.yml schedules, what became of each moment, and running one now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from receiver.cli.command import clean, command, field, group, lines, run_async, say, show, table
from receiver.cli.open import office
from receiver.errors import Refused

Name = Annotated[str, typer.Argument(metavar="NAME", help="As policy.yml names it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=500, help="How many moments.")]
Cursor = Annotated[str, typer.Option("--cursor", help="`next` of the page before.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    schedules = group("schedule", "What policy.yml schedules, and running it now.")
    app.add_typer(schedules)

    @command(schedules, "list")
    def list_schedules() -> None:
        """All schedules of the policy in force: how they run, when they were and will be due."""
        run_async(_list())

    @command(schedules, "show")
    def show_schedule(name: Name, limit: Limit = 20, cursor: Cursor = "") -> None:
        """One schedule and what became of its moments, newest first."""
        run_async(_show(name, limit, cursor))

    @command(schedules, "run")
    def run_schedule(name: Name) -> None:
        """Run it now, in your name; the same checks follow as at its own time. Needs `dispatches` in policy.yml."""
        run_async(_run(name))


async def _views() -> list[dict[str, Any]]:
    from receiver.domain.view import schedule_view

    async with office() as opened:
        revision = await opened.repo.revision(await opened.repo.adopted())
        marks = {row["name"]: row for row in await opened.store.schedules.marks()}
    return [schedule_view(one, marks.get(one.name), revision) for one in revision.policy.schedules]


async def _list() -> None:
    rows = await _views()
    columns = ("name", "cron", "zone", "playbook", "runs_as", "hosts", "enabled", "last_at", "last_fate", "next_at")
    cells = [[len(row["hosts"]) if one == "hosts" else row[one] for one in columns] for row in rows]
    show({"items": rows, "next": None}, lambda: table(columns, cells))


async def _show(name: str, limit: int, cursor: str) -> None:
    found = next((one for one in await _views() if one["name"] == name), None)
    if found is None:
        raise Refused(
            f"looking for schedule {name!r:.60}: the adopted policy.yml has none of this name",
            next_step="gitmedic schedule list", reason="unknown_schedule",
        )  # fmt: skip
    async with office() as opened:
        page = await opened.store.schedules.moments(name, limit=limit, cursor=cursor or None)
    show({"schema": 1, **found, "moments": {"items": page.items, "next": page.next}}, lambda: _print(found, page.items))


async def _run(name: str) -> None:
    from receiver.starter import os_user

    async with office() as opened:
        moment = await opened.agenda.run(name, actor=f"os:{os_user()}")
        page = await opened.store.schedules.moments(name, limit=1, cursor=None)
    cases = [one["id"] for one in page.items[0]["cases"]] if page.items else []
    data = {"schema": 1, "schedule": name, "planned_at": moment.planned_at, "cases": cases}
    show(data, lambda: lines(cases))
    for case in cases[:1]:
        say(f"next: gitmedic case watch {case}")


def _print(schedule: dict[str, Any], moments: Any) -> None:
    for name in ("name", "cron", "zone", "jitter_seconds", "playbook", "runs_as", "missed", "enabled", "next_at"):
        field(name, schedule[name] if schedule[name] is not None else "")
    field("hosts", ", ".join(schedule["hosts"]) or "none")
    for name, value in schedule["params"].items():
        field(f"  {clean(name)}", value)
    rows = [
        (row["planned_at"], row["fate"], ", ".join(f"{one['entity'] or one['id']}: {one['outcome'] or one['state']}"
                                                    for one in row["cases"]), row["by"], row["why"])
        for row in moments
    ]  # fmt: skip
    table(("planned_at", "fate", "cases", "by", "why"), rows)
