"""`gitmedic plan`: what would be decided about an alert, and why. It does nothing."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.command import command, field, line, run_async, say, show
from receiver.cli.open import office, settings
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.domain.revision import Revision
    from receiver.office import Office
    from receiver.preview import Preview


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "plan")
    def plan(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A webhook payload of Alertmanager; - reads it.")],
        source: Annotated[str, typer.Option("--source", help="As if this source had sent it.")] = "",
        tier: Annotated[str, typer.Option("--tier", help="`rules`, `chain`, or a tier of the settings.")] = "rules",
    ) -> None:
        """What would be decided about the alerts of a payload, and why. No case, no proposal, no host."""
        run_async(_plan(_read(file), source, tier))


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Refused(f"reading {str(file)!r}: {error.strerror}", next_step="name a file", reason="invalid") from error


async def _plan(body: bytes, source: str, tier: str) -> None:
    from receiver import previewing

    found = settings()
    async with _in_force() as (revision, opened), previewing.open_preview(found, tier) as previewer:
        recall = previewing.recall_of(opened.store.ledger if opened else None)
        answers = await previewer.payload(
            body, source=source or previewing.only_source(found), revision=revision, recall=recall
        )
    for answer in answers:
        show({"schema": 1, **answer.model_dump(mode="json")}, lambda answer=answer: _print(answer))  # type: ignore[misc]


@asynccontextmanager
async def _in_force() -> AsyncIterator[tuple[Revision, Office | None]]:
    """The adopted revision of the data directory; the starter content where there is no directory."""
    if settings().data_dir.is_dir():
        async with office() as opened:
            yield await opened.repo.revision(await opened.repo.adopted()), opened
        return
    from receiver.starter import starter_revision

    say(f"there is no data directory {str(settings().data_dir)!r}: planning with the starter content")
    yield starter_revision(), None


def _print(answer: Preview) -> None:
    """What a person wants to know of it, the verdict first."""
    field("alert", f"{answer.alert.name} ({answer.alert.severity})")
    field("verdict", answer.verdict)
    field("about", answer.entity.name if answer.entity else f"nothing known: {answer.unresolved}")
    field("source says", answer.confirmation.why)
    plan = answer.plan
    field("plan", f"{plan.playbook or plan.action} ({plan.tier})")
    for name, value in plan.params.items():
        field("", f"{name} = {value}   from fact {plan.binds.get(name, 'none: its default')}")
    field("why", plan.why)
    for candidate in plan.candidates:
        field("considered", f"{candidate.playbook}: {'taken, ' if candidate.chosen else ''}{candidate.why}")
    for row in answer.guard:
        if row.passed is False:
            field("guard", f"{row.name} says no: {row.why}")
    for fact in answer.facts:
        mark = "*" if fact.id in plan.evidence else " "
        trust = "" if fact.trusted else " (untrusted)"
        note = f" ({fact.note})" if fact.note else ""
        field(f"fact {mark}{fact.id}", f"{fact.kind} = {fact.value}{fact.unit}{note}   {fact.source}{trust}")
    line("")
