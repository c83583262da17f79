"""What a process loads is waited for at each start: nothing of what only another one needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: a module → what it must not bring with it
LOADED = {
    "receiver.adapters.runner.child": {"asyncio", "ssl", "httpx", "structlog"},
    "receiver.wiring.work": {"fastapi", "uvicorn", "starlette", "anthropic", "openai"},
    "receiver.wiring.serve": {"anthropic", "openai", "ansible_runner"},
}


@pytest.mark.parametrize("module", LOADED)
def test_a_process_loads_nothing_of_another(module: str) -> None:
    look = f"import sys, {module}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert LOADED[module] & set(said.stdout.split()) == set()
