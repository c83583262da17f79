"""How every command is made: the options they share, what they print where, and how they end.

Standard output is data, standard error is talk. With `--json` the data is one JSON value (or one a line where
a command follows something). An error is one sentence and the next command; a traceback only with -vv.
"""

from __future__ import annotations

import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from receiver.cli.exits import EPILOG, code_of, is_database
from receiver.errors import GitmedicError, Refused

_PANEL = "Options of every command"
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", readable=False, help="Data directory. (GITMEDIC_DATA_DIR)", rich_help_panel=_PANEL),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", readable=False, help="Settings file. (GITMEDIC_CONFIG)", rich_help_panel=_PANEL),
]
Json = Annotated[bool, typer.Option("--json", help="Data as JSON.", rich_help_panel=_PANEL)]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="-vv: tracebacks.", rich_help_panel=_PANEL)]


@dataclass(frozen=True)
class Given:
    """The options that every command takes."""

    data_dir: Path | None = None
    config: Path | None = None
    json: bool = False
    verbose: int = 0


_given: ContextVar[Given] = ContextVar("given", default=Given())  # noqa: B039 - frozen


def given() -> Given:
    """What this command was given."""
    return _given.get()


def remember(data_dir: DataDir = None, config: Config = None, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Before the command or after it: the same options in both places, the later one wins."""
    known = _given.get()
    _given.set(
        replace(
            known,
            data_dir=data_dir or known.data_dir,
            config=config or known.config,
            json=as_json or known.json,
            verbose=max(verbose, known.verbose),
        )
    )


def group(name: str, help: str) -> typer.Typer:
    """A group of commands; `remember` is its callback."""
    made = typer.Typer(name=name, help=help, no_args_is_help=True, epilog=EPILOG)
    made.callback()(_callback(help))
    return made


def command(app: typer.Typer, name: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command with the shared options; its errors become a sentence and an exit code."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            shared = {key: kwargs.pop(key) for key in inspect.signature(remember).parameters}
            remember(**shared)
            ended = _guarded(lambda: function(*args, **kwargs))
            if ended:
                raise typer.Exit(int(ended))

        own = inspect.signature(function, eval_str=True)
        ours = inspect.signature(remember, eval_str=True).parameters.values()
        extra = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in ours]
        run.__signature__ = own.replace(parameters=[*own.parameters.values(), *extra])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*own.parameters.values(), *extra]}
        app.command(name, epilog=EPILOG, **options)(run)
        return function

    return register


def show(data: Any, text: Callable[[], None] | None = None) -> None:
    """The data of this command: JSON when asked for, else as `text` prints it for people."""
    if given().json or text is None:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, default=_plain) + "\n")
        sys.stdout.flush()
    else:
        text()


def line(text: str) -> None:
    """One line of data for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def lines(texts: Iterable[str]) -> None:
    """Some lines of data for people."""
    for text in texts:
        line(text)


def clean(text: str, limit: int = 400) -> str:
    """Text from outside on one line, without what could move a terminal's cursor or hide a word."""
    from receiver.domain.text import plain  # it brings the whole domain with it

    return plain(text, limit)


def field(name: str, value: object) -> None:
    """One named value for people; what comes from outside loses its control characters."""
    line(f"{name:<12} {clean(str(value))}".rstrip())


def say(text: str) -> None:
    """Talk: what was done, what to do next."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def working(text: str) -> Iterator[None]:
    """A sign of life on a terminal while something takes more than a moment; nothing is said inside."""
    if given().json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status(text):
        yield


@contextmanager
def counting(text: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal for work whose length is known; what it gives is called once for each piece done."""
    if given().json or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people; what comes from outside loses its control characters and its markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(clean(_cell(cell))) for cell in row))
    # a pipe has no width: nothing is folded there
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(drawn)


def _plain(value: Any) -> str:
    """What JSON has no word for; times in the API's form."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)


def run_async(work: Any, new_loop: Callable[[], Any] | None = None) -> Any:
    """Run one coroutine to its end, on a loop of the caller's choice."""
    import asyncio

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


def _callback(help: str) -> Callable[..., None]:
    @wraps(remember)
    def callback(**shared: Any) -> None:
        remember(**shared)

    callback.__signature__ = inspect.signature(remember, eval_str=True)  # type: ignore[attr-defined]
    callback.__doc__ = help
    return callback


def _guarded(work: Callable[[], Any]) -> int | None:
    """The exit code of `work`; its own when it gives one."""
    try:
        ended: int | None = work()
        return ended
    except (KeyboardInterrupt, typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except BaseExceptionGroup as error:
        return tell_error(error.exceptions[0])
    except Exception as error:
        return tell_error(error)


def tell_error(error: BaseException) -> int:
    """One sentence and the next command; gives the exit code."""
    if given().verbose >= 2:
        traceback.print_exception(error)
    if isinstance(error, GitmedicError):
        say(f"gitmedic: {error.message}")
        if isinstance(error, Refused) and error.next_step:
            say(f"next: {error.next_step}")
    elif isinstance(error, OSError | TimeoutError):
        say(f"gitmedic: {error}" if str(error) else "gitmedic: it did not end in the time that was given")
    elif is_database(error):
        say(f"gitmedic: asking the database: {str(error).strip().splitlines()[0]}")
        say("next: gitmedic doctor")
    else:
        say(f"gitmedic: a bug: {type(error).__name__}: {error}")
        if given().verbose < 2:
            say("next: run it again with -vv and report what it says")
    return int(code_of(error))
