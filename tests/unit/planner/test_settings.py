"""`[planner]`: what may be said, what is refused, and who may read a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.planner.models import read_key
from receiver.adapters.planner.settings import PlannerSettings
from receiver.config import check_secret, load, problems, shown
from receiver.errors import Invalid, Refused
from receiver.planners import tiers_of
from receiver.supervisor import environment
from receiver.testing.clock import FakeClock
from receiver.testing.purse import FakePurse

TOML = """
[planner]
order = ["local", "fast", "strong", "rules"]
spotlight = "datamark"
consensus = { medium = 2 }
[planner.budget]
usd_per_day = 0.5
[planner.tiers.local]
kind = "local"
base_url = "http://127.0.0.1:11434/v1/"
model = "qwen3:8b"
[planner.tiers.fast]
kind = "anthropic"
key_file = "KEY"
[planner.tiers.strong]
kind = "anthropic"
key_env = "STRONG_KEY"
models = { reflect = "claude-opus-5-5" }
"""


def written(folder: Path, text: str = TOML) -> Any:
    key = folder / "key"
    key.write_text("sk-1\n")
    key.chmod(0o600)
    (folder / "gitmedic.toml").write_text(text.replace("KEY", str(key), 1))
    return load(folder, environment={})


def test_tiers_with_their_defaults(tmp_path: Path) -> None:
    found = written(tmp_path).planner
    assert found.names == ("local", "fast", "strong") and found.strong == "strong"
    assert [found.tiers[name].deadline for name in found.names] == [8, 30, 30]
    assert [found.model_of(name) for name in found.names] == ["qwen3:8b", "claude-haiku-5-5", "claude-sonnet-5-5"]
    assert found.model_of("strong", "reflect") == "claude-opus-5-5"
    assert found.tiers["fast"].url == "https://api.anthropic.com"


def test_without_tiers_the_rules_decide_alone(tmp_path: Path) -> None:
    assert tiers_of(load(tmp_path, environment={}), FakePurse(FakeClock())) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"order": ["fast"]}, "no tier 'fast'"),
        ({"tiers": {"l": {"kind": "local", "model": "m"}}}, "needs `base_url`"),
        ({"tiers": {"l": {"kind": "local", "base_url": "http://h/v1"}}}, "needs `model`"),
        ({"tiers": {"l": {"kind": "local", "model": "m", "base_url": "ftp://h"}}}, "expected http"),
        ({"tiers": {"l": {"kind": "local", "model": "m", "base_url": "http://u:p@h"}}}, "expected http"),
        ({"tiers": {"f": {"kind": "anthropic"}}}, "needs `key_file` or `key_env`"),
        ({"tiers": {"f": {"kind": "anthropic", "key_env": "A", "key_file": "/b"}}}, "say one of"),
        ({"tiers": {"f": {"kind": "anthropic", "key_env": "A", "api_key": "sk"}}}, "Extra inputs"),
        ({"tiers": {"rules": {"kind": "anthropic", "key_env": "A"}}}, "always the last"),
        ({"order": ["rules", "f"], "tiers": {"f": {"kind": "anthropic", "key_env": "A"}}}, "always the last"),
        ({"consensus": {"low": 3}}, "1 or 2"),
        ({"budget": {"tokens_per_request": 100_000}}, "less than 100000"),
        ({"routing": {"strong": "x"}}, "no tier 'x'"),
    ],
)
def test_what_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PlannerSettings.model_validate(said)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    found = written(tmp_path)
    tier = found.planner.tiers["fast"]
    check = lambda path: check_secret(path, what="the key")  # noqa: E731
    assert read_key(tier, check) == "sk-1" and problems(found) == []
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(Invalid, match="others can read it"):
        read_key(tier, check)
    assert any("tier 'fast'" in one.message for one in problems(found))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key").write_text("two\nlines")
    with pytest.raises(Refused, match="one line"):
        read_key(tier, check)


def test_only_the_planner_is_given_the_variable_with_a_key(tmp_path: Path) -> None:
    found = written(tmp_path)
    outer = {"STRONG_KEY": "sk-2", "OTHER": "x"}
    assert environment("plan", found, outer).get("STRONG_KEY") == "sk-2"
    for name in ("serve", "execute", "postgres"):
        assert "STRONG_KEY" not in environment(name, found, outer)
    assert "sk-" not in str(shown(found))
