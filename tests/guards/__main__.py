"""Takes each guard out, one at a time, and sees its test fail. Run by hand: `make guards`; not part of the suite.

Works on a copy of the committed tree in a temporary directory, with this checkout's environment. A guard whose text
is no longer there, or whose test still passes without it, is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(only: list[str]) -> int:
    """Exit 1 when a guard can be taken out unseen."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    guards = [guard for file in files for guard in tomllib.loads(file.read_text())["guard"]]
    unseen = 0
    with tempfile.TemporaryDirectory(prefix="gitmedic-guards-", dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        copy = Path(place) / "tree"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(copy)], check=True)
        (copy / ".tools").symlink_to(ROOT / ".tools")
        for guard in guards:
            if only and guard["rule"] not in only:
                continue
            seen = take_out(copy, guard)
            unseen += not seen
            print(
                f"{'seen to fail' if seen else 'NOT SEEN':<12} {guard['rule']:<4} {guard['file']} {guard['test']}",
                flush=True,
            )
    return 1 if unseen else 0


def take_out(copy: Path, guard: dict[str, str]) -> bool:
    """Whether the test fails without the guard."""
    file = copy / guard["file"]
    before = file.read_text()
    if guard["old"] not in before:
        print(f"  the text is no longer there: {guard['old'][:70]!r}")
        return False
    file.write_text(before.replace(guard["old"], guard["new"], 1))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", guard["test"]],
            cwd=copy, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    finally:
        file.write_text(before)
        shutil.rmtree(copy / ".pytest_cache", ignore_errors=True)
    return done.returncode == 1 and ("failed" in done.stdout or "error" in done.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
