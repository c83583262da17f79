"""What `doctor` says of models, without sending a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.config import load
from receiver.doctor import models
from tests.integration.planner.scripted import Script, error, hang, raw, server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "script", "status", "said"),
    [
        ("local", raw(b'{"data": [{"id": "small"}]}'), "ok", "local small at"),
        ("local", raw(b'{"data": [{"id": "other"}]}'), "bad", "does not name 'small'"),
        ("anthropic", error(401), "ok", "anthropic small at"),
        ("local", raw(b"<html>", status=404), "warn", "may be no model server"),
    ],
)
async def test_a_tier_in_one_row(tmp_path: Path, kind: str, script: Script, status: str, said: str) -> None:
    async with server(script) as listening:
        (row,) = await found(tmp_path, kind, listening.url)
        (request,) = listening.requests
    assert (row.status, said in row.found) == (status, True), row
    assert not {"authorization", "x-api-key", "api-key"} & set(request.headers)


async def test_nobody_there(tmp_path: Path) -> None:
    async with server(hang) as closed:
        pass
    (row,) = await found(tmp_path, "local", closed.url)
    assert row.status == "bad" and "planner.tiers.t" in row.fix


async def found(folder: Path, kind: str, url: str) -> Any:
    key = 'key_env = "NOT_SET"' if kind != "local" else ""
    text = f'[planner.tiers.t]\nkind = "{kind}"\nbase_url = "{url}"\nmodel = "small"\n{key}\n'
    (folder / "gitmedic.toml").write_text(text)
    return await models(load(folder, environment={}))
