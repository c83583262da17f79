"""The child process begins with little: what it loads is waited for by every run."""

from __future__ import annotations

import subprocess
import sys


def test_the_child_loads_nothing_of_the_executors() -> None:
    """Each of these takes as long as all that it does load by itself."""
    look = (
        "import sys, receiver.adapters.runner.child; "
        "print(sorted({'asyncio', 'ssl', 'httpx', 'structlog'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
