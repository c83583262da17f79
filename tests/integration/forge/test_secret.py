"""The secret of the forge's webhooks lies in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.adapters.forge.secret import webhook_secret
from receiver.adapters.forge.settings import ForgeSettings
from receiver.errors import Refused


def settings(file: Path | None) -> ForgeSettings:
    return ForgeSettings(
        kind="gitlab", url="https://gitlab.example/ops/infra", token_file=Path("/nowhere"), webhook_secret_file=file
    )


def test_it_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for written, meant in ((" first\n", "first"), ("second", "second"), ("\n", ""), ("zwölf", "zwölf")):
        file.write_text(written, "utf-8")
        assert webhook_secret(settings(file)) == meant


def test_where_none_is_named_there_is_none() -> None:
    assert webhook_secret(settings(None)) == ""


def test_one_that_cannot_be_read_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    for file in (tmp_path / "absent", tmp_path, tmp_path / "odd"):
        with pytest.raises(Refused, match="webhook_secret_file") as caught:
            webhook_secret(settings(file))
        assert str(file) in caught.value.message
