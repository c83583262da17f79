"""How a run ended that said nothing of it at its end."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.adapters.runner.redaction import Redactor
from receiver.adapters.runner.told import Seen, read_errors, result_of
from receiver.domain.run import Job, RunResult

pytestmark = pytest.mark.anyio
SECRET = "correct-horse-battery-staple"


async def ended(tmp_path: Path, said: str) -> RunResult:
    """After a real process said this on standard error and no more."""
    (tmp_path / "said").write_text(said)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import shutil, sys; shutil.copyfileobj(open(sys.argv[1]), sys.stderr)",
        str(tmp_path / "said"), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    seen = Seen(redactor=Redactor([SECRET.encode()]))
    await read_errors(process, seen)
    job = Job(run_id="r", mode="run", playbook_id="t_t", files={}, hosts=(), params={}, isolation="none")
    return result_of(job, seen, datetime.now(UTC), await process.wait())


async def test_its_last_line_is_the_reason_without_secrets(tmp_path: Path) -> None:
    result = await ended(tmp_path, f"first\nit was {SECRET}\n")
    assert (result.status, result.why) == ("failed", "its process ended (0): it was (secret)")


async def test_the_rest_of_a_line_whose_beginning_is_gone_is_not_said(tmp_path: Path) -> None:
    rest = 8192 - 10
    result = await ended(tmp_path, f"{SECRET}{'x' * rest}")
    assert result.why == "its process ended (0)"
    result = await ended(tmp_path, f"{SECRET}{'x' * rest}\nout of memory\n")
    assert result.why == "its process ended (0): out of memory"
