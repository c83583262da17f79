"""What the store promises about a run's steps (Steps), runs called off before they begin, late reports."""

from __future__ import annotations

import pytest

from receiver.domain.case import Approved, Proposed, Vetted
from receiver.domain.outcome import Role
from receiver.domain.run import RunResult
from receiver.domain.standing import Standing
from receiver.errors import Conflict
from receiver.identity import new_id
from tests.fix_stores import NOW, Stores

pytestmark = pytest.mark.anyio


def ended(status: str) -> RunResult:
    return RunResult.model_validate({"status": status, "why": "w", "started_at": NOW, "ended_at": NOW})


async def test_a_step_begins_once_and_ends_once(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    assert await stores.runs.steps(run) == ()
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    await stores.runs.begin_step(run, 0, attempt, ["web1", "web2"])
    with pytest.raises(Conflict):
        await stores.runs.begin_step(run, 0, attempt, ["web1"])
    await stores.runs.end_step(run, 0, ended("successful"))
    await stores.runs.end_step(run, 0, ended("failed"))
    await stores.runs.begin_step(run, 1, attempt, ["web3"])
    await stores.runs.finish(attempt, ended("interrupted"))
    with pytest.raises(Conflict):  # somebody took the run over meanwhile
        await stores.runs.begin_step(run, 2, attempt, ["web4"])
    first, second = await stores.runs.steps(run)
    assert (first.number, first.hosts, first.result) == (0, ("web1", "web2"), ended("successful"))
    assert (second.number, second.hosts, second.result, second.instance) == (1, ("web3",), None, "i")


async def test_an_approved_run_is_called_off_before_it_begins(
    stores: Stores, proposed: tuple[Proposed, Approved]
) -> None:
    case = await stores.open()
    approved = proposed[1].model_copy(update={"id": case.id})
    run = approved.runfile.run
    assert await stores.desk.cancel(run, "user:anna") is False  # not approved yet
    await stores.save(approved, role=Role.EXECUTE)
    assert await stores.runs.called_off(run) is None
    assert await stores.desk.cancel(run, "user:anna") is True
    assert await stores.runs.called_off(run) == "user:anna"
    events = await stores.archive.events(case.id, after=-1)
    assert [event["actor"] for event in events if event["kind"] == "run.cancel_asked"] == ["user:anna"]
    attempt = await stores.runs.begin(run, case.id, "run", "i")  # it was asked a moment too late
    assert await stores.runs.cancelled(attempt) is True


async def test_what_is_read_on_the_policys_word_is_called_off_as_well(
    stores: Stores, proposed: tuple[Proposed, Approved]
) -> None:
    case, told = await stores.open(), proposed[1].model_dump(exclude={"kind"})
    known = {name: value for name, value in told.items() if name in Vetted.model_fields} | {"id": case.id}
    vetted = Vetted.model_validate(known | {"standing": None}, strict=False)
    await stores.save(vetted, role=Role.EXECUTE)
    run = vetted.runfile.run
    assert await stores.desk.cancel(run, "user:anna") is False  # it still needs a proposal
    standing = Standing(by="policy:look@c", at=NOW)
    await stores.save(vetted.model_copy(update={"standing": standing}), role=Role.EXECUTE)
    assert await stores.desk.cancel(run, "user:anna") is True
    assert await stores.runs.called_off(run) == "user:anna"


async def test_a_report_that_comes_late_is_kept_once_and_told(stores: Stores) -> None:
    case, run = await stores.open(), new_id()
    attempt = await stores.runs.begin(run, case.id, "run", "i")
    await stores.runs.finish(attempt, ended("interrupted"))
    await stores.runs.finish(attempt, ended("successful"))
    await stores.runs.finish(attempt, ended("failed"))
    assert await stores.runs.attempt_of(run, "run") == (attempt, ended("interrupted"))
    events = await stores.archive.events(case.id, after=-1)
    assert [one["text"] for one in events if one["kind"] == "run.reported_late"] == [
        "its executor said later: the run ended successful"
    ]
