"""All commands in one tree. Imports nothing that is slow: each command does that when it runs."""

from __future__ import annotations

import importlib.util

import typer

from receiver.cli import (
    alerts,
    cases,
    catalog,
    database,
    decide,
    doctor,
    eval,
    forge,
    hosts,
    locks,
    memory,
    plan,
    reference,
    revision,
    runs,
    schedules,
    setup,
    tokens,
    up,
    version,
)
from receiver.cli.command import remember
from receiver.cli.exits import EPILOG

app = typer.Typer(
    name="gitmedic", no_args_is_help=True, pretty_exceptions_enable=False, epilog=EPILOG,
    help="Turns a firing alert into a pull request, and a merged pull request into a verified fix.",
)  # fmt: skip
app.callback()(remember)
setup.register(app)
if importlib.util.find_spec("receiver.cli.demo"):
    importlib.import_module("receiver.cli.demo").register(app)
for part in (
    up, doctor, database, cases, decide, plan, eval, runs, hosts, catalog, revision, forge, alerts, locks, memory,
    reference, schedules, tokens, version,
):  # fmt: skip
    part.register(app)
