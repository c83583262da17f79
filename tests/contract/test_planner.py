"""What every planner promises: an answer, a playbook only of this catalog, values only from trusted facts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.alert import Alert
from receiver.domain.entity import Entity
from receiver.domain.fact import Fact
from receiver.domain.inventory import read_inventory
from receiver.domain.plan import Attempt, Plan
from receiver.domain.playbook import Catalog, check_params, read_catalog
from receiver.domain.policyfile import read_policy
from receiver.domain.question import Question, offers_of
from receiver.domain.revision import Revision
from receiver.ports import Planner
from receiver.testing.outside import FakePlanner
from tests.unit.test_pipeline import FILES, POLICY

pytestmark = pytest.mark.anyio
PLAYBOOKS = {path: data for path, data in FILES.items() if path.startswith("playbooks/")}
CATALOG = read_catalog(PLAYBOOKS)
ENTITY = Entity(kind="host", name="web1", host="web1", site="home")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def fact(id: str, kind: str, value: str, *, trusted: bool = True) -> Fact:
    return Fact(id=id, kind=kind, value=value, source="inventory", trusted=trusted, taken_at=NOW)


@pytest.fixture(params=[RulesPlanner(), FakePlanner("web_restart")], ids=["rules", "fake"])
def planner(request: pytest.FixtureRequest) -> Planner:
    found: Planner = request.param
    return found


async def plan(planner: Planner, *facts: Fact, catalog: Catalog = CATALOG) -> tuple[Plan, list[Attempt]]:
    alert = Alert(
        source="prom", fingerprint="0" * 16, starts_at=NOW, status="firing",
        labels={"alertname": "WebDown", "host": "web9"},
    )  # fmt: skip
    revision = Revision(commit="a" * 40, catalog=catalog, inventory=read_inventory({}), policy=read_policy(POLICY))
    question = Question(
        case="c1", alert=alert, entity=ENTITY, facts=facts, revision=revision, offers=offers_of(catalog)
    )  # fmt: skip
    return await planner.plan(question)


async def test_a_playbook_that_fits_is_bound_to_facts(planner: Planner) -> None:
    chosen, attempts = await plan(planner, fact("f1", "alert.severity", "critical"), fact("f2", "host", "web1"))
    assert (chosen.action, chosen.playbook, chosen.params["host"]) == ("playbook", "web_restart", "web1")
    assert chosen.binds == {"host": "f2"} and "f2" in chosen.evidence
    check_params(CATALOG.playbooks["web_restart"], chosen.params)
    assert chosen.why
    assert [(one.verdict, bool(one.tier), bool(one.why)) for one in attempts] == [("accepted", True, True)]


@pytest.mark.parametrize("facts", [(), (fact("f1", "host", "web9", trusted=False),)], ids=["none", "untrusted"])
async def test_without_a_trusted_fact_a_person_is_told(planner: Planner, facts: tuple[Fact, ...]) -> None:
    chosen, attempts = await plan(planner, *facts)
    assert chosen.action in ("notify", "none")
    assert (chosen.playbook, chosen.params, chosen.binds) == (None, {}, {}) and chosen.why
    assert [one.verdict for one in attempts] == ["moved_on"]


async def test_nothing_outside_the_catalog_is_chosen(planner: Planner) -> None:
    chosen, attempts = await plan(planner, fact("f1", "host", "web1"), catalog=Catalog(playbooks={}))
    assert chosen.action in ("notify", "none")
    assert chosen.playbook is None and chosen.why
    assert len(attempts) == 1
