"""What a run that is another user is given: its own copy, in memory, which only it reads."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from receiver.adapters.runner.credentials import Revealed
from receiver.adapters.runner.doors import open_doors
from receiver.adapters.runner.place import private_place
from receiver.adapters.runner.sandbox import Cell
from receiver.adapters.runner.seen import NAME
from receiver.domain.run import Job, JobHost

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")]


def read(file: Path, uid: int) -> str:
    done = subprocess.run(["/bin/cat", file], user=uid, group=uid, extra_groups=[], capture_output=True, check=False)
    return done.stdout.decode() or done.stderr.decode()


async def test_where_nothing_can_be_mounted_only_the_run_itself_reads_it(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    job = Job(
        run_id="r", mode="run", playbook_id="t", files={}, hosts=(JobHost(name="here", connection="local"),), params={},
        isolation="landlock",
    )  # fmt: skip
    cell = Cell(scratch=tmp_path, kind="nobody", uid=nobody)
    revealed = Revealed(secrets={"t": b"canary"}, become=b"canary-sudo", vaults={"default": b"canary-vault"})
    async with private_place(revealed, tmp_path / NAME, with_agent=False) as place:
        assert place is not None
        async with open_doors(job, cell, place) as shown:
            given = (tmp_path / NAME).readlink()
            assert shown.agent == given and given.is_relative_to(place)
            for name, value in (("secrets/t", "canary"), ("become", "canary-sudo"), ("vault/default", "canary-vault")):
                assert read(given / name, nobody) == value
                assert "Permission denied" in read(given / name, 1000)
                assert "Permission denied" in read(place / name, nobody)
            assert given.stat().st_mode & 0o777 == 0o700
    assert not place.exists() and not (tmp_path / NAME).is_symlink()
