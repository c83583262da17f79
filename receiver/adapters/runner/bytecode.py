"""Bytecode for what a run loads: without it each run would compile Ansible again, a third of a second.

Decides only whether some is missing and may be written: an installer may have left it out, and a run itself never
writes any. Refuses nothing; where the environment is read-only, runs are slower.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import structlog

log = structlog.get_logger()

#: what a run loads that the executor itself does not, each with a module that shows whether it was compiled
_LOADED = {
    "ansible": "cli/playbook.py",
    "ansible_runner": "interface.py",
    "jinja2": "runtime.py",
    "pexpect": "pty_spawn.py",
    "ptyprocess": "ptyprocess.py",
    "receiver": "adapters/runner/child.py",
}


def missing() -> list[Path]:
    """Folders of packages without bytecode that this process may write."""
    found = []
    for name, module in _LOADED.items():
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            compiled = Path(importlib.util.cache_from_source(str(Path(place, module))))
            if not compiled.exists() and os.access(place, os.W_OK):
                found.append(Path(place))
    return found


def compile_missing(seconds: float = 300.0) -> list[Path]:
    """Compile it, as the least of all that runs here, and say where; blocking, for so long at most.

    What was not compiled by then is left to the next start, which finds the rest done.
    """
    folders = [] if sys.dont_write_bytecode else missing()
    if folders:
        try:
            subprocess.run(
                ["nice", "-n", "19", sys.executable, "-m", "compileall", "-q", *map(str, folders)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                env={"PATH": os.defpath}, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            log.warning("bytecode.unfinished", seconds=seconds)
    return folders
