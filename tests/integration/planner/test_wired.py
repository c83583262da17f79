"""From `gitmedic.toml` to the metrics page: settings, key file, real client, rows in PostgreSQL, what is exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from receiver.adapters.store.heartbeat import Heartbeats
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.purse import PostgresPurse
from receiver.adapters.store.seats import Seats, Who
from receiver.adapters.telemetry.metrics import Metrics, Snapshot
from receiver.config import load
from receiver.errors import Refused
from receiver.planners import open_planner, tiers_of
from tests.integration.planner.asking import KNOWN
from tests.integration.planner.scripted import answer, error, server
from tests.unit.domain.planning import GOOD, question

pytestmark = pytest.mark.anyio
TOML = """
[planner.tiers.local]
kind = "local"
base_url = "{local}/v1"
model = "small"
[planner.tiers.fast]
kind = "anthropic"
base_url = "{fast}"
key_file = "{key}"
"""


async def test_the_whole_way_of_an_attempt(tmp_path: Path, database: str) -> None:
    key = tmp_path / "key"
    key.write_text("sk-first\n")
    key.chmod(0o600)
    async with server(error(500)) as local, server(answer(**GOOD)) as fast, open_pool(database) as pool:
        (tmp_path / "gitmedic.toml").write_text(TOML.format(local=local.url, fast=fast.url, key=key))
        planner = tiers_of(load(tmp_path, environment={}), PostgresPurse(pool))
        assert planner is not None
        await planner.ready()
        plan, _ = await planner.plan(question(memories=KNOWN))
        key.write_text("sk-second\n")
        await planner.plan(question(memories=KNOWN, case="c2", labels={"x": "y"}))
        key.chmod(0o644)
        _, attempts = await planner.plan(question(memories=KNOWN, case="c3", labels={"x": "z"}))
        await planner.aclose()
        assert plan.playbook == "docker_restart" and [one.key for one in fast.requests] == ["sk-first", "sk-second"]
        assert attempts[1].reason == "auth" and "others can read it" in attempts[1].why
        async with pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT case_id, tier, verdict, reason, cost_usd FROM plan_attempts ORDER BY id"
                )
            ).fetchall()
        assert rows[:3] == [
            ("c1", "local", "moved_on", "unavailable", 0.0), ("c1", "fast", "accepted", "", 0.00019),
            ("c1", "rules", "moved_on", "", 0.0),
        ]  # fmt: skip
        beats = Heartbeats(pool)
        seat = await Seats(pool).take(Who(name="w1", roles="plan"))
        await seat.beat({"planner": planner.tally.view()})
        page = Metrics().render(Snapshot(**await beats.snapshot())).decode()
    for said in (
        'gitmedic_planner_attempts{model="claude-haiku-5-5",outcome="success",worker="w1"} 2.0',
        'gitmedic_planner_attempts{model="small",outcome="fallback",worker="w1"} 3.0',
        'gitmedic_planner_tokens{kind="sent",model="claude-haiku-5-5",worker="w1"} 1800.0',
        'gitmedic_planner_plans{tier="fast",worker="w1"} 2.0',
        'gitmedic_planner_cost_usd{model="claude-haiku-5-5",worker="w1"} 0.00038',
        'gitmedic_planner_saved_ratio{worker="w1"}',
    ):
        assert said in page, said


def test_without_a_tier_no_client_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; import receiver.planners as w, receiver.config as c;"
        "assert w.tiers_of(c.load(Path('/nonexistent'), environment={}), None) is None;"
        "print([m for m in ('pydantic_ai', 'anthropic', 'openai', 'genai_prices') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


async def test_a_key_in_the_environment_is_enough_to_try_a_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = load(tmp_path, environment={})
    async with server(answer(**GOOD)) as claude:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-tried")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.url)
        async with open_planner(found, "strong") as planner:
            plan, attempts = await planner.plan(question())
        async with open_planner(found) as rules:
            _, by_rule = await rules.plan(question())
    assert (plan.playbook, [one.model for one in attempts]) == ("docker_restart", ["claude-sonnet-5-5"])
    assert [one.key for one in claude.requests] == ["sk-tried"] and [one.tier for one in by_rule] == ["rules"]
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Refused, match="the settings have no model"):
        async with open_planner(found, "strong"):
            pass


async def test_a_tier_alone_that_has_no_answer_tells_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with server(error(500)) as claude:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-tried")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.url)
        async with open_planner(load(tmp_path, environment={}), "fast") as planner:
            plan, attempts = await planner.plan(question())
    assert (plan.action, plan.tier) == ("notify", "fast") and "tier fast has no answer" in plan.why
    assert [(one.tier, one.reason) for one in attempts] == [("fast", "unavailable")]
