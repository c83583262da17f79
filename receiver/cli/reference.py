"""`gitmedic config`: the settings of this machine, and the pages that describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.command import command, group, line, lines, say, show, tell_error
from receiver.cli.exits import Code
from receiver.cli.open import settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    config = group("config", "The settings of this machine.")
    app.add_typer(config)

    @command(config, "show")
    def show_settings() -> None:
        """All settings as they are in effect; no secret is shown."""
        from receiver.config import flat, shown

        found = shown(settings())
        show(found, lambda: lines(f"{key} = {json.dumps(value)}" for key, value in flat(found)))

    @command(config, "check")
    def check() -> int:
        """Check the settings file, the environment and the modes of secret files."""
        from receiver.config import problems

        found = settings()
        wrong = problems(found)
        data = {"schema": 1, "file": str(found.file), "problems": [error.message for error in wrong]}
        show(data, lambda: line(f"{found.file}: {len(wrong)} problems" if wrong else f"{found.file}: good"))
        for error in wrong:
            tell_error(error)
        return Code.CONFIG if wrong else Code.OK

    @command(config, "schema")
    def schema(
        docs: Annotated[
            Path | None,
            typer.Option("--docs", metavar="DIR", help="Write the reference pages there instead."),
        ] = None,
    ) -> None:
        """The settings file as JSON Schema, for editors."""
        from receiver.cli.pages import json_schema, pages

        if docs is None:
            show(json_schema())
            return
        for name, text in pages(app).items():
            (docs / name).write_text(text, "utf-8")
            say(f"wrote {docs / name}")
