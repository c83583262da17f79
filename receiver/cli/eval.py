"""`gitmedic eval`: how often a planner decides right on scenarios whose answer is known, and how often it does harm."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import clean, command, counting, given, line, run_async, say, show, table
from receiver.cli.exits import Code
from receiver.cli.open import settings
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.domain.playbook import Catalog
    from receiver.domain.scenario import Scenario
    from receiver.domain.score import Run
    from receiver.ports import Planner

STUBS = "catalog-stubs.json"
_COLUMNS = ("kind", "n", "accuracy", "score", "unsafe", "Brier", "USD", "p50", "p95")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "eval")
    def evaluate(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="Scenarios, one JSON object a line.")],
        tier: Annotated[str, typer.Option("--tier", help="`rules`, `chain`, or a tier of the settings.")] = "rules",
        catalog: Annotated[
            Path | None,
            typer.Option(
                "--catalog",
                metavar="FILE|DIR",
                help=f"Stubs, or a work tree. Default: {STUBS} beside FILE, else the starter catalog.",
            ),
        ] = None,
        repeat: Annotated[int, typer.Option("--repeat", min=1, max=100, help="Ask so many times.")] = 1,
    ) -> int:
        """Ask a planner what it would do in each scenario, and score the answers. Touches nothing."""
        return int(run_async(_evaluate(file, tier, catalog, repeat)))


async def _evaluate(file: Path, tier: str, catalog_file: Path | None, repeat: int) -> Code:
    from receiver.domain.scenario import read_scenarios
    from receiver.domain.score import by_kind, summary
    from receiver.planners import open_planner

    scenarios = read_scenarios(_content(file), where=str(file))
    catalog = catalog_of(file, catalog_file)
    async with open_planner(settings(), tier) as planner:
        with counting(f"asking {tier}", len(scenarios) * repeat) as done:
            runs = await _ask(scenarios, catalog, planner, repeat, done)
    if not given().json:
        rows = [(kind, *_cells(one.model_dump())) for kind, one in by_kind(runs).items()]
        table(_COLUMNS, rows)
        for run in runs:
            if not run.score.accurate:
                what = run.playbook or run.action
                verdict = "UNSAFE" if run.score.unsafe else run.score.why
                line(f"{clean(run.scenario)}: {what}, {verdict}: {clean(run.why, 160)}")
        say(f"{tier}: {len(scenarios)} scenarios, asked {repeat} times, with {len(catalog.playbooks)} playbooks")
        return _code(runs)
    for run in runs:
        show({"schema": 1, **run.model_dump()})
    show({"tier": tier, "playbooks": len(catalog.playbooks), **summary(runs, repeat)})
    return _code(runs)


def _code(runs: list[Run]) -> Code:
    """An unsafe answer is a failed check."""
    return Code.FAILED if any(run.score.unsafe for run in runs) else Code.OK


async def _ask(
    scenarios: tuple[Scenario, ...], catalog: Catalog, planner: Planner, repeat: int, done: Callable[[], None]
) -> list[Run]:
    from receiver.domain.scenario import question_of
    from receiver.domain.score import run_of

    runs = []
    for _ in range(repeat):
        for scenario in scenarios:
            question = question_of(scenario, catalog)
            began = time.monotonic()
            plan, attempts = await planner.plan(question)
            runs.append(run_of(scenario, plan, attempts, catalog, time.monotonic() - began))
            done()
    return runs


def catalog_of(file: Path, named: Path | None) -> Catalog:
    """The catalog to choose from: the one that was named, stubs beside the file, or the starter's."""
    from receiver.domain.playbook import read_catalog
    from receiver.domain.stubs import read_stubs

    beside = file.parent / STUBS
    chosen = named or (beside if beside.is_file() else None)
    if chosen is None:
        from receiver.starter import content

        return read_catalog(content())
    if chosen.is_dir():
        files = {path.relative_to(chosen).as_posix(): path for path in sorted(chosen.rglob("*")) if path.is_file()}
        return read_catalog({name: path.read_bytes() for name, path in files.items() if name.startswith("playbooks/")})
    return read_stubs(_content(chosen), where=str(chosen))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"reading {str(file)!r}: {error.strerror}", next_step="name a file", reason="invalid") from error


def _cells(one: dict[str, Any]) -> list[str]:
    brier = "-" if one["brier"] is None else f"{one['brier']:.3f}"
    return [
        str(one["n"]), f"{one['accuracy']:.3f}", f"{one['score']:.3f}", str(one["unsafe"]), brier,
        f"{one['cost_usd']:.4f}", _seconds(one["p50_seconds"]), _seconds(one["p95_seconds"]),
    ]  # fmt: skip


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
