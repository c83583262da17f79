"""What argues for a change: only what code observed, whatever an outsider wrote."""

from __future__ import annotations

import pytest

from receiver.adapters.planner.rules import RulesPlanner
from receiver.domain.playbook import Catalog
from tests.contract.test_planner import CATALOG, fact, plan

pytestmark = pytest.mark.anyio


def when(condition: str) -> Catalog:
    """The catalog whose only rule asks for this, too."""
    (playbook,) = CATALOG.playbooks.values()
    handles = tuple(handle.model_copy(update={"when": (condition,)}) for handle in playbook.handles)
    return Catalog(playbooks={playbook.id: playbook.model_copy(update={"handles": handles})})


@pytest.mark.parametrize(("trusted", "action"), [(True, "playbook"), (False, "diagnose")])
async def test_an_untrusted_observation_argues_for_no_change(trusted: bool, action: str) -> None:
    facts = fact("f1", "host", "web1"), fact("f2", "service.state", "dead", trusted=trusted)
    chosen, _ = await plan(RulesPlanner(), *facts, catalog=when("service.state == dead"))
    assert chosen.action == action, chosen.why
