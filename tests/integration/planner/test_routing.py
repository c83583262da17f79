"""Who is asked, when one answer is not enough, what a storm costs, and what a budget stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver.adapters.planner.routing import holding
from receiver.domain.memory import Precedent
from receiver.domain.plan import Plan
from receiver.errors import Unavailable
from receiver.ports import Spent
from tests.integration.planner.asking import KNOWN, asking, good
from tests.integration.planner.scripted import answer, error, said
from tests.unit.domain.planning import FACTS, GOOD, NOW, fact, question

pytestmark = pytest.mark.anyio
GOOD_RULE = Plan(
    action="playbook", playbook="docker_restart", params={"host": "web1", "container": "grafana"}, why="its rule"
)  # fmt: skip
OTHER_RULE = Plan(action="playbook", playbook="docker_prune", params={"host": "web1", "keep": "7d"}, why="its rule")
HOLD = good(action="notify", playbook="", binds=[], verify="")
PRUNE = good(playbook="docker_prune", binds=[{"param": "host", "fact": "f1"}], verify="alert")
ALL = {"local": answer(**GOOD), "fast": answer(**GOOD), "strong": answer(**GOOD)}


def fixed(count: int, outcome: str = "fixed") -> tuple[Precedent, ...]:
    return tuple(
        Precedent(
            id=f"m{n}", kind="case", at=NOW, text="t", alertname="ContainerDown", playbook="docker_restart", outcome=o
        )
        for n, o in enumerate(["fixed"] * (count - 1) + [outcome])
    )


async def asked_tiers(rules: Plan | None, **said: Any) -> tuple[list[str], str]:
    async with asking(ALL, rules=rules) as asked:
        _, attempts = await asked.plan(question(**said))
        return [name for name, count in asked.asked().items() if count], attempts[0].why


@pytest.mark.parametrize(
    ("rules", "said", "tiers"),
    [
        (None, {"memories": KNOWN}, ["local"]),
        (None, {}, ["strong"]),
        (None, {"memories": KNOWN, "severity": "critical"}, ["strong"]),
        (GOOD_RULE, {"memories": KNOWN}, ["local"]),
        (GOOD_RULE, {"memories": fixed(3)}, []),
        (GOOD_RULE, {"memories": fixed(3, "not_fixed")}, ["local"]),
        (GOOD_RULE, {"memories": fixed(2)}, ["local"]),
        (None, {"status": "resolved"}, []),
        (None, {"labels": {"alertname": "Watchdog"}}, []),
        (Plan(action="none", why="heartbeat"), {"severity": "critical"}, []),
        (Plan(action="notify", why="hardware"), {}, []),
    ],
)
async def test_who_is_asked(rules: Plan | None, said: dict[str, Any], tiers: list[str]) -> None:
    asked, why = await asked_tiers(rules, **said)
    assert asked == tiers
    assert tiers or why.startswith("no model was asked")


async def test_a_light_tier_that_is_unsure_is_not_believed() -> None:
    async with asking({"fast": answer(**good(confidence=0.4)), "strong": answer(**HOLD)}) as asked:
        plan, attempts = await asked.plan(question(memories=KNOWN))
    assert (plan.action, plan.tier) == ("notify", "strong")
    assert [(one.tier, one.verdict) for one in attempts][:2] == [("fast", "moved_on"), ("strong", "accepted")]
    assert "less sure (0.40)" in attempts[0].why


@pytest.mark.parametrize(
    ("rule", "light", "strong", "action", "tier"),
    [
        (GOOD_RULE, GOOD, None, "playbook", "fast"),
        (OTHER_RULE, GOOD, GOOD, "playbook", "fast"),
        (GOOD_RULE, HOLD, HOLD, "notify", "fast"),
        (OTHER_RULE, GOOD, PRUNE, "notify", "fast+strong"),
        (OTHER_RULE, GOOD, None, "notify", "fast+rules"),
        (GOOD_RULE, HOLD, GOOD, "notify", "fast+strong"),
    ],
)
async def test_disagreement_is_a_persons(rule: Plan, light: Any, strong: Any, action: str, tier: str) -> None:
    scripts: Any = {"fast": answer(**light), "strong": answer(**strong) if strong else error(500)}
    async with asking(scripts, rules=rule) as asked:
        plan, attempts = await asked.plan(question(memories=KNOWN))
    assert (plan.action, plan.tier) == (action, tier)
    if "+" in tier:
        assert plan.params == {} and plan.playbook is None and "disagree" in plan.why
        assert len([one for one in plan.candidates if "would take it" in one.why]) == 2
        assert strong is None or attempts[1].reason == "disagreed"


async def test_no_model_proposes_a_change_against_a_hold() -> None:
    smart = fact("f8", "smart", "FAILED", note="reallocated sectors 2048, disk failing")
    facts = (*FACTS, smart)
    asked_for = question(*facts, memories=KNOWN)
    assert holding(asked_for), "the rules hold back here"
    for words, tier in ((GOOD, "fast+rules"), (HOLD, "fast")):
        async with asking({"fast": answer(**words)}) as asked:
            plan, _ = await asked.plan(asked_for)
        assert (plan.action, plan.tier, plan.params) == ("notify", tier, {})


async def test_a_strong_tier_that_differs_from_the_rule() -> None:
    for words, action in ((GOOD, "notify"), (HOLD, "notify")):
        async with asking({"strong": answer(**words)}, rules=OTHER_RULE) as asked:
            plan, _ = await asked.plan(question(severity="critical"))
        assert plan.action == action
        assert plan.tier == ("strong+rules" if words is GOOD else "strong")


@pytest.mark.parametrize(
    ("first", "second", "action"),
    [(GOOD, GOOD, "playbook"), (GOOD, PRUNE, "notify"), (GOOD, None, "notify"), (HOLD, None, "notify")],
)
async def test_consensus_by_risk(first: Any, second: Any, action: str) -> None:
    scripts: Any = {"fast": answer(**first), "strong": answer(**second) if second else error(500)}
    async with asking(scripts, consensus={"low": 2}) as asked:
        plan, _ = await asked.plan(question(memories=KNOWN))
        assert asked.asked()["strong"] == (0 if first is HOLD else 1)
    assert plan.action == action and (plan.action == "playbook") == bool(plan.params)


async def test_one_plan_per_group_in_a_storm() -> None:
    async with asking({"fast": answer(**GOOD)}, storm_seconds=300) as asked:
        found = await asyncio.gather(*(asked.plan(question(memories=KNOWN, case=f"c{n}")) for n in range(20)))
        assert asked.asked() == {"fast": 1}
        assert {plan.playbook for plan, _ in found} == {"docker_restart"}
        again = [attempts for _, attempts in found if "answered" in attempts[0].why]
        assert len(again) == 19 and all(one[0].cost_usd == 0 for one in again)
        for other in (
            question(memories=KNOWN, labels={"name": "loki"}),
            question(fact("f1", "host", "web1"), memories=KNOWN),
        ):
            await asked.plan(other)
        assert asked.asked()["fast"] >= 3


async def test_a_storm_over_a_dead_model_costs_no_cooldown() -> None:
    async with asking({"fast": [error(500), error(500), answer(**GOOD)]}, storm_seconds=300) as asked:
        found = await asyncio.gather(*(asked.plan(question(memories=KNOWN)) for _ in range(4)))
        assert [plan.action for plan, _ in found].count("playbook") == 2


@pytest.mark.parametrize(
    ("budget", "said_why"),
    [
        ({"usd_per_day": 0}, "the day's budget of 0.00 USD"),
        ({"usd_per_case": 0}, "the case's budget of 0.00 USD"),
        ({"tokens_per_request": 1000}, "tokens, 1000 is the limit"),
    ],
)
async def test_over_budget_the_cheaper_tier_decides_and_it_is_said(budget: dict[str, Any], said_why: str) -> None:
    async with asking({"strong": answer(**GOOD), "local": answer(**GOOD)}, budget=budget) as asked:
        plan, attempts = await asked.plan(question())
        assert asked.asked()["strong"] == 0
    assert attempts[0].reason == "budget" and said_why in attempts[0].why
    assert plan.tier == ("rules" if "tokens" in said_why else "local")


async def test_the_budget_is_used_up_and_never_passed() -> None:
    async with asking({"strong": said("no", tokens=(4000, 0, 400))}, budget={"usd_per_day": 0.1}) as asked:
        for number in range(12):
            await asked.plan(question(case=f"c{number}"))
        spent = await asked.purse.spent("c0")
        assert 0.06 < spent.day <= 0.1
        assert asked.asked()["strong"] < 12


class AwayPurse:
    """A purse whose database is away for a while."""

    def __init__(self) -> None:
        self.is_away, self.booked = True, 0.0

    async def spent(self, case: str) -> Spent:
        if self.is_away:
            raise Unavailable("no database")
        return Spent(day=self.booked, case=self.booked)

    async def book(self, case: str, attempt: Any) -> None:
        if self.is_away:
            raise Unavailable("no database")
        self.booked += attempt.cost_usd


async def test_a_sum_that_is_not_known_is_too_much_and_nothing_is_forgotten() -> None:
    async with asking({"strong": answer(**GOOD)}) as asked:
        purse = asked.planner._purse = AwayPurse()
        plan, attempts = await asked.plan(question())
        assert plan.tier == "rules" and "not known" in attempts[0].why and asked.asked()["strong"] == 0
        purse.is_away = False
        heard = asyncio.Event()

        async def go_away(of: str, attempt: Any) -> None:
            heard.set()
            raise Unavailable("no database")

        purse.book = go_away  # type: ignore[method-assign]
        await asked.plan(question(case="c2"))
        del purse.book  # type: ignore[method-assign]
        assert heard.is_set() and purse.booked == 0
        await asked.plan(question(case="c3"))
        assert purse.booked == pytest.approx(2 * 0.0038)


async def test_a_model_without_a_price_is_not_asked() -> None:
    async with asking({"openai": answer(**GOOD)}, tier={"price": None, "model": "nobody-knows-it"}) as asked:
        asked.planner._models["openai"]._settings = asked.planner._settings.tiers["openai"].model_copy(  # type: ignore[attr-defined]
            update={"price": None}
        )
        _, attempts = await asked.plan(question())
    assert attempts[0].reason == "budget" and "no price is known" in attempts[0].why


async def test_what_is_saved_is_counted() -> None:
    async with asking({"fast": answer(**GOOD), "strong": answer(**GOOD)}) as asked:
        for number in range(9):
            await asked.plan(question(memories=KNOWN, case=f"c{number}"))
        await asked.plan(question(severity="critical"))
        view = asked.planner.tally.view()
    assert view["plans"] == {"fast": 9, "strong": 1}
    assert view["cost_usd"] == pytest.approx(9 * 0.00019 + 0.0038)
    assert view["baseline_usd"] == pytest.approx(10 * 0.0038)
    assert view["cost_usd"] < 0.3 * view["baseline_usd"] and view["cost_usd"] / 10 < 0.003


async def test_the_same_instructions_again_are_cached() -> None:
    async with asking({"fast": answer(**GOOD)}) as asked:
        await asked.plan(question(memories=KNOWN))
        await asked.plan(
            question(
                fact("f1", "host", "web1"), fact("f2", "container", "grafana"), fact("f4", "x", "y"), memories=KNOWN
            )
        )
        first, second = (one.body["system"] for one in asked.servers["fast"].requests)
    assert "cache_control" not in str(first) and "cache_control" in str(second)
    assert first[0]["text"] == second[0]["text"]
