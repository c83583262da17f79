"""What the figures were measured on, without a name or a path of it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def described(bin_dir: Path) -> dict[str, str]:
    """Cores, memory, kernel, and the versions that matter; `bin_dir` holds PostgreSQL's programs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    packages = ("uvicorn", "httptools", "uvloop", "fastapi", "psycopg", "ansible-core")
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "Python": platform.python_version(),
        "PostgreSQL": said.strip().rpartition(" ")[2],
        "stack": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def load() -> str:
    """Over one, five and fifteen minutes; the suite itself keeps it between one and three."""
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def tree(pid: int) -> set[int]:
    """A process and everything below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def is_postgres(pid: int) -> bool:
    """By the name of its program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional memory: what is shared counts once over all who share it. The unit is MiB.

    Kernel: https://docs.kernel.org/filesystems/proc.html (smaps_rollup).
    """
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024
