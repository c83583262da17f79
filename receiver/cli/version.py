"""`gitmedic version`."""

from __future__ import annotations

import platform

import typer

from receiver.cli.command import command, line, show


def version() -> str:
    """Of the installed package; a checkout that was never installed says so."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("gitmedic")
    except PackageNotFoundError:
        return "0.1.0+checkout"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "version")
    def show_version() -> None:
        """Which gitmedic this is."""
        data = {"schema": 1, "version": version(), "python": platform.python_version()}
        show(data, lambda: line(f"gitmedic {data['version']} (Python {data['python']})"))
