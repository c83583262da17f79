"""`up` with stand-ins for its children; everything else is real."""

import asyncio
import sys
from pathlib import Path

from receiver import config, supervisor
from receiver.adapters.telemetry.log import configure_log
from receiver.errors import GitmedicError


async def first(_settings, _dsn):
    return None


async def main() -> int:
    settings = config.load()
    configure_log(settings.log, process="up")
    supervisor.check_listen(settings)
    program = (sys.executable, str(Path(__file__).with_name("fake_child.py")))
    running = supervisor.Supervisor(settings, first, lambda text: print(text, flush=True), program=program)
    return await running.run()


try:
    sys.exit(asyncio.run(main()))
except BaseExceptionGroup as group:
    sys.exit(f"refused: {group.exceptions[0]}")
except GitmedicError as error:
    sys.exit(f"refused: {error.message}")
