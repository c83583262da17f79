"""The console script `gitmedic`."""

from __future__ import annotations

import sys

from receiver.interrupt import EXIT_CODE, ends_at_once


def main() -> None:
    """Run one command; the process ends with its exit code."""
    try:
        with ends_at_once():
            from receiver.cli.app import app  # noqa: PLC0415 - so that Ctrl-C is quiet from the start

        app(prog_name="gitmedic")
    except KeyboardInterrupt:
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
