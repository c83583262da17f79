"""`gitmedic run`: what a run did; stopping one, and proposing it again for the hosts that failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import clean, command, field, group, line, run_async, say, show, table
from receiver.cli.open import office, store
from receiver.errors import Refused, Retry

if TYPE_CHECKING:
    from receiver.ports import Lines

Id = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as its case and its run file show it.")]
_PAGE = 1000
_FOLLOW_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    runs = group("run", "What runs did; stopping one, and proposing one again.")
    app.add_typer(runs)

    @command(runs, "show")
    def show_run(run: Id) -> None:
        """How a run went: its attempts, and Ansible's counters for each host."""
        run_async(_show(run))

    @command(runs, "logs")
    def logs(
        run: Id,
        follow: Annotated[
            bool, typer.Option("--follow", "-f", help="Until the run has ended, also of one that still waits.")
        ] = False,
        host: Annotated[str, typer.Option("--host", help="Only lines of this host.")] = "",
        kind: Annotated[list[str] | None, typer.Option("--kind", help="Only lines of this kind: failed, …")] = None,
        word: Annotated[str, typer.Option("--word", help="Only lines with this word.")] = "",
    ) -> None:
        """The events of a run, oldest first; with --json one object a line."""
        from receiver.ports import Lines

        run_async(_logs(run, follow, Lines(host=host, kinds=tuple(kind or ()), word=word)))

    @command(runs, "cancel")
    def cancel(run: Id) -> None:
        """Stop a run, with all of its processes, or keep one that waits from beginning. The case ends as cancelled."""
        run_async(_cancel(run))

    @command(runs, "retry")
    def retry(
        run: Id,
        reason: Annotated[str, typer.Option("--reason", help="Written on the proposal.")] = "",
    ) -> None:
        """Propose a run again, only for the hosts on which it failed and those that it did not touch."""
        run_async(_retry(run, reason))


async def _show(run: str) -> None:
    async with store() as opened:
        found = await _run(opened.archive, run)
    show(found, lambda: _print(found))


async def _logs(run: str, follow: bool, of: Lines) -> None:
    """Once, or until the run has ended; a dry run's log is followed by that of the run itself."""
    said = ""
    async with store() as opened:
        attempt, after = "", -1
        while True:
            try:
                waits = await _waits_for(opened.archive, run)
                newest = await opened.archive.run_log(run, limit=1)
                if newest and newest[0]["attempt"] != attempt:
                    attempt, after = newest[0]["attempt"], -1
                one = of.model_copy(update={"attempt": attempt})
                events = await opened.archive.run_log(run, after=after, limit=_PAGE, of=one)
            except Retry as error:
                if not follow:
                    raise
                said = _say_once(f"{error.message}; trying again", said)
                await asyncio.sleep(_FOLLOW_SECONDS)
                continue
            for event in events:
                after = max(after, int(event["seq"]))
                show(event, lambda event=event: _print_event(event))  # type: ignore[misc]
            if events:
                continue
            if waits is not None and (follow or not attempt):
                said = _say_once(waits, said)
            if not follow or waits is None:
                return
            await asyncio.sleep(_FOLLOW_SECONDS)


def _say_once(text: str, said: str) -> str:
    if text and text != said:
        say(text)
    return text


async def _waits_for(archive: Any, run: str) -> str | None:
    """What is still to come, in words; None when nothing is. Asked before the lines are read: what ended has them."""
    case = await archive.run_case(run)
    found = await archive.run(run)
    if case is None and found is None:
        raise Refused(f"looking for run {run!r}: there is none", next_step="gitmedic case list", reason="unknown_run")
    if case is None or not case["is_open"] or (found and found["mode"] == "run" and found["ended_at"]):
        return None
    if found is not None and found["ended_at"] is None:
        return ""
    return f"case {case['id']} is {case['state']}" + (f": {clean(case['waiting'])}" if case["waiting"] else "")


async def _cancel(run: str) -> None:
    from receiver.starter import os_user

    async with office() as opened:
        await opened.doors.cancel(run, actor=f"os:{os_user()}")
    show({"schema": 1, "run": run, "cancelling": True}, lambda: line(f"run {run} was told to stop"))


async def _retry(run: str, reason: str) -> None:
    from receiver.domain.text import plain
    from receiver.starter import os_user

    async with office() as opened:
        case = await opened.aftermath.retry(run, actor=f"os:{os_user()}", reason=plain(reason))
    show({"schema": 1, "case": case}, lambda: line(case))
    say(f"next: gitmedic case watch {case}")


async def _run(archive: Any, run: str) -> dict[str, Any]:
    found: dict[str, Any] | None = await archive.run(run)
    if found is None:
        raise Refused(f"looking for run {run!r}: there is none", next_step="gitmedic case list", reason="unknown_run")
    return found


def _print(run: dict[str, Any]) -> None:
    for name, value in run.items():
        if isinstance(value, str | int | float) and value != "":
            field(name, value)
    stats = run.get("stats") or {}
    if stats:
        columns = ("ok", "changed", "failures", "unreachable", "skipped", "rescued", "ignored")
        rows = [(host, *(row.get(one, 0) for one in columns)) for host, row in stats.items()]
        table(("host", *columns), rows)
    for attempt in run.get("attempts") or ():
        field("attempt", " ".join(str(attempt.get(one) or "") for one in ("mode", "status", "begun_at")))


def _print_event(event: dict[str, Any]) -> None:
    words = [clean(str(event.get(name) or "")) for name in ("kind", "host", "task")]
    line("  ".join(word for word in words if word))
    for name in ("text", "diff"):
        for row in str(event.get(name) or "").splitlines():
            line(f"    {clean(row, 2000)}")
