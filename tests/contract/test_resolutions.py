"""Words of people about interrupted runs: the Resolutions port, and that an alert has one open case (Desk)."""

from __future__ import annotations

import pytest

from receiver.adapters.store.resolutions import PostgresResolutions
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Verdict
from receiver.domain.proof import Reading, Verification
from receiver.domain.resolution import Resolution
from receiver.errors import Conflict
from receiver.identity import new_id
from receiver.ports import Event
from receiver.testing.resolutions import FakeResolutions
from receiver.testing.store import FakeCases
from tests.fix_stores import Stores, post

pytestmark = pytest.mark.anyio
CLOSE = Resolution(act="close", actor="user:anna", reason="it is well", settles=True)
VERIFY = Resolution(act="verify", actor="user:ben")


def verification(verdict: Verdict, why: str) -> Verification:
    return Verification(verdict=verdict, why=why, after=Reading(verdict=verdict, why=why))


def resolutions(stores: Stores) -> PostgresResolutions | FakeResolutions:
    if isinstance(stores.cases, FakeCases):
        return FakeResolutions(stores.cases)
    return PostgresResolutions(stores.cases._pool)


async def kinds(stores: Stores, case: str) -> list[str]:
    events = await stores.archive.events(case, after=-1)
    return [event["kind"] for event in events if event["kind"].startswith("resolution")]


async def test_one_word_settles_an_interrupted_case(stores: Stores) -> None:
    words = resolutions(stores)
    await stores.open()
    case = await stores.close(Outcome.INTERRUPTED)
    assert await words.waiting() == 1
    listed = await stores.archive.cases(limit=5, cursor=None, filters={"needs": "you"})
    assert [item["id"] for item in listed.items] == [case]
    assert await words.say(case, CLOSE) is True
    assert await words.say(case, CLOSE) is False
    assert await words.say(case, VERIFY) is False
    assert await words.waiting() == 0
    (kept,) = await words.of(case)
    assert (kept.act, kept.actor, kept.reason, kept.settles) == ("close", "user:anna", "it is well", True)
    assert kept.at is not None and await kinds(stores, case) == ["resolution.close"]


async def test_only_an_interrupted_case_is_resolved(stores: Stores) -> None:
    words, open_one = resolutions(stores), await stores.open()
    assert await words.say(open_one.id, CLOSE) is False
    case = await stores.close(Outcome.FAILED)
    assert await words.say(case, CLOSE) is False and await words.say(new_id(), CLOSE) is False
    assert await words.waiting() == 0 and await words.of(case) == ()


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_what_was_seen_answers_all_who_asked(stores: Stores, verdict: Verdict) -> None:
    words, settles = resolutions(stores), verdict is Verdict.RESOLVED
    await stores.open()
    case = await stores.close(Outcome.INTERRUPTED)
    await words.say(case, VERIFY)
    await words.say(case, VERIFY.model_copy(update={"actor": "user:anna"}))
    assert await words.asked() == [case]
    seen = verification(verdict, "seen now")
    await words.answer(case, seen, settles=settles)
    await words.answer(case, verification(Verdict.NO_DATA, "again"), settles=True)  # nobody asked
    assert await words.asked() == []
    assert {(word.verdict, word.why) for word in await words.of(case)} == {(verdict, "seen now")}
    assert await words.waiting() == int(not settles) and (await words.say(case, CLOSE)) is not settles
    stored = await stores.archive.stored(case)
    assert isinstance(stored, Closed) and stored.outcome is Outcome.INTERRUPTED and stored.verification == seen
    assert (await kinds(stores, case))[:3] == ["resolution.verify"] * 2 + ["resolution.verified"]


async def test_an_alert_has_one_open_case_also_when_a_person_opens_it(stores: Stores) -> None:
    await stores.inbox.store([post("A")])
    lease = await stores.claim()
    planned = await stores.open()
    again = planned.model_copy(update={"id": new_id(), "alert": lease.case.alert})
    told = [Event(kind="case.planned", actor="user:anna", text="again")]
    with pytest.raises(Conflict):
        await stores.desk.open(again, told)
    await stores.save(lease.case.end(Outcome.INTERRUPTED, "w").become(Closed), lease)
    await stores.desk.open(again, told)
    (row,) = (await stores.archive.cases(limit=5, cursor=None, filters={"alertname": "A", "state": "planned"})).items
    assert (row["id"], row["source"]) == (again.id, "prom")
