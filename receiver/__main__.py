"""The console script `gitmedic`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command; the process ends with its exit code."""
    try:
        from receiver.cli.app import app  # noqa: PLC0415 - so that Ctrl-C is quiet from the start

        app(prog_name="gitmedic")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
