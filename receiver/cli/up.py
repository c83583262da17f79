"""`gitmedic up`, `serve` and `work`: what keeps running.

`up` ends with 130 after Ctrl-C and with 143 after SIGTERM, when everything it started is gone; a second
signal kills. `serve` and `work` are its parts, for several machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import command, given, line, run_async, say, show
from receiver.cli.open import settings
from receiver.errors import Refused
from receiver.interrupt import ends_at_once

if TYPE_CHECKING:
    from receiver.config import Settings

Listen = Annotated[
    str | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Default 127.0.0.1:8090. (GITMEDIC_LISTEN)"),
]
#: which roles a worker has; both when none is named
Roles = Annotated[list[str], typer.Option("--role", help="plan or execute; both when not given.")]
#: more than one may be served by one executor
Sites = Annotated[list[str], typer.Option("--site", help="A site whose hosts it runs on; every other one's if none.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "up")
    def up(listen: Listen = None) -> int:
        """Run everything on this machine: PostgreSQL, the server, the planner and the executor."""
        with ends_at_once():
            from receiver import starter, supervisor

        found = settings(listen)
        _log(found, "up")
        ended = run_async(supervisor.up(found, first=_first(starter), say=line))
        return int(ended)

    @command(app, "serve")
    def serve(listen: Listen = None) -> None:
        """Run the server alone: hooks, API and pages. Holds no credential for your hosts."""
        with ends_at_once():
            from receiver import supervisor

        found = _own("serve", settings(listen))
        begun = supervisor.hold_lifeline()
        supervisor.check_listen(found)
        _log(found, "serve")
        with ends_at_once():
            from receiver.web.server import new_loop
            from receiver.wiring import serve as wiring

        begun()
        run_async(wiring.serve(found), new_loop)

    @command(app, "work")
    def work(
        role: Roles = [],  # noqa: B006 - typer copies it
        site: Sites = [],  # noqa: B006
        name: Annotated[str, typer.Option("--name", help="Its name; one process has it at a time.")] = "",
        health: Annotated[bool, typer.Option("--health", help="Only say whether that worker lives: 0 or 1.")] = False,
    ) -> int:
        """Run a worker alone. The plan role holds no credential; the execute role listens on no port."""
        with ends_at_once():
            from receiver import supervisor
            from receiver.domain.outcome import Role

        roles = [_role(name) for name in role] or list(Role)
        found = _placed(settings(), site, name)
        if health:
            return _health(found, roles)
        found = _own(" ".join(roles), found)
        begun = supervisor.hold_lifeline()
        _log(found, "-".join(roles))
        with ends_at_once():
            from receiver.wiring import work as wiring

        begun()
        run_async(wiring.work(found, roles))
        return 0


def _first(starter: Any) -> Any:
    """An `up` in an empty directory begins like `init`, without a work tree."""

    async def first(found: Settings, dsn: str) -> None:
        starter.prepare(found.data_dir)
        if starter.begin(found):
            say(f"made a new ops repository in {found.repo.path}; a work tree of it: gitmedic init DIR")
        await starter.adopt(found, dsn)

    return first


def _own(roles: str, found: Settings) -> Settings:
    """Nothing that belongs to another process is kept, neither in the environment nor in the settings.

    Before the lifeline: a process that begins again would leave it behind, and its supervisor would wait in vain.
    """
    from receiver import belongings

    belongings.shed(roles, found)
    return belongings.settings_of(roles, found)


def _health(found: Settings, roles: list[Any]) -> int:
    """Whether the worker of this name, role and site lives, as the database knows it."""
    from receiver.wiring import work as wiring

    name, row, lives = run_async(wiring.health(found, roles))
    data = {"schema": 1, "name": name, "lives": lives, "silent_seconds": row and row["silent_seconds"]}
    show(data, lambda: line(_said(name, row, lives)))
    return 0 if lives else 1


def _said(name: str, row: dict[str, Any] | None, lives: bool) -> str:
    if row is None:
        return f"worker {name!r}: never heard of"
    if row["ended_at"] is not None:
        return f"worker {name!r}: ended {row['ended_at']:%Y-%m-%d %H:%M:%S} UTC"
    where = f"process {row['pid']} on {row['host']}"
    return f"worker {name!r}: {'lives' if lives else 'is silent'}, {where}, heard {row['silent_seconds']:.0f} s ago"


def _placed(found: Settings, sites: list[str], name: str) -> Settings:
    """With what the command line says of a worker's place."""
    from receiver.adapters.store.settings import WorkerSettings

    said: dict[str, Any] = {"sites": tuple(sites)} if sites else {}
    said |= {"name": name} if name else {}
    try:
        return found.model_copy(update={"worker": WorkerSettings(**found.worker.model_dump() | said)})
    except ValueError:
        raise Refused(
            f"starting a worker: {name or ' '.join(sites)!r} is no name: letters, digits, '.', '_' and '-'",
            next_step="--name NAME, --site NAME",
            reason="invalid",
        ) from None


def _role(name: str) -> Any:
    from receiver.domain.outcome import Role

    try:
        return Role(name)
    except ValueError:
        raise Refused(
            f"starting a worker: {name!r} is no role",
            next_step="--role plan or --role execute",
            reason="invalid",
        ) from None


def _log(found: Settings, process: str) -> None:
    from receiver.adapters.telemetry.log import configure_log

    log = found.log.model_copy(update={"level": "debug"}) if given().verbose else found.log
    configure_log(log, process=process)
