"""`gitmedic upgrade` and `gitmedic db-roles`, on the built-in database."""

import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.processes import gitmedic
from tests.machine import quick_folder


@pytest.fixture
def place() -> Iterator[Path]:
    """A data directory that PostgreSQL's own user can enter."""
    found = Path(tempfile.mkdtemp(prefix="gitmedic-test-", dir=quick_folder()))
    found.chmod(0o755)
    yield found / "data"
    shutil.rmtree(found)


def test_roles_are_made_once_and_their_passwords_are_ours_alone(place: Path) -> None:
    told = ("--data-dir", str(place))
    shown = gitmedic("db-roles", "--print", *told)
    assert shown.returncode == 0 and "CREATE ROLE gitmedic_executor" in shown.stdout, shown.stderr
    assert not (place / "postgres").exists(), "printing changes nothing"
    applied = json.loads(gitmedic("upgrade", "--json", *told).stdout)["applied"]
    assert "0011_sites.sql" in applied
    assert json.loads(gitmedic("upgrade", "--json", *told).stdout)["applied"] == []
    made = json.loads(gitmedic("db-roles", "--json", *told).stdout)
    assert len(made["passwords"]) == 3
    for name in made["passwords"]:
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    assert json.loads(gitmedic("db-roles", "--json", *told).stdout)["passwords"] == []
