"""An interrupted run on the pages and in the API: it needs a person's session, and is listed until it is settled."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.aftermath import look_at_asked
from receiver.domain.case import Closed
from receiver.domain.outcome import Outcome, Role, Verdict
from receiver.ports import Event
from receiver.testing.outside import FakeProof
from tests.door import Door, proposed

pytestmark = pytest.mark.anyio


async def ended(door: Door, outcome: Outcome, **labels: str) -> Closed:
    """A case whose run ended so, as the store has it."""
    case, store = await proposed(door, **labels), door.office.store
    async with store.pool.connection() as connection:
        await connection.execute("UPDATE cases SET due_at = now() WHERE id = %s", (case.id,))
    lease = await store.cases.claim((Role.PLAN, Role.EXECUTE), "test")
    assert lease is not None and lease.case.id == case.id
    await store.runs.begin(case.runfile.run, case.id, "run", "test")
    closed = case.end(outcome, "its executor died").become(Closed)
    await store.cases.save(lease, closed, [Event(kind="case.closed", actor="system")], role=Role.PLAN)
    return closed


async def test_it_needs_a_person_until_it_is_settled(door: Door) -> None:
    case, store = await ended(door, Outcome.INTERRUPTED), door.office.store
    anna, guest, token = await door.session("anna"), await door.session("guest"), await door.token("admin")
    listed: dict[str, Any] = (await anna.get("/api/cases", params={"needs": "you"})).json()
    assert [item["id"] for item in listed["items"]] == [case.id]
    page = (await anna.get(f"/cases/{case.id}")).text
    assert "Needs you" in page and "Propose the same again" in page and "Look how things are now" in page
    seen_by_guest = (await guest.get(f"/cases/{case.id}")).text
    assert "Look how things are now" in seen_by_guest and "Propose the same again" not in seen_by_guest
    way = f"/api/cases/{case.id}/resolve"
    assert (await door.http.post(way, json={"act": "close", "reason": "w"}, headers=token)).status_code in (401, 403)
    assert (await guest.post(way, json={"act": "close", "reason": "w"})).status_code == 403
    assert (await anna.post(way, json={"act": "burn"})).status_code == 422
    assert (await anna.post(f"/cases/{case.id}/resolve", data={"act": "verify"})).status_code == 303
    proof = FakeProof()
    proof.verdict = Verdict.STILL_FIRING
    await look_at_asked(store.resolutions, store.archive, proof, door.office.repo)
    shown = (await anna.get(f"/api/cases/{case.id}")).json()
    assert shown["verification"]["verdict"] == "still_firing" and shown["outcome"] == "interrupted"
    assert shown["needs_you"] is True
    answer = await anna.post(f"/cases/{case.id}/resolve", data={"act": "propose"})
    assert answer.status_code == 303 and answer.headers["location"] != f"/cases/{case.id}"
    opened = (await anna.get(f"/api{answer.headers['location']}")).json()
    assert opened["state"] == "planned" and opened["alert"]["fingerprint"] == shown["alert"]["fingerprint"]
    assert (await anna.get("/api/cases", params={"needs": "you"})).json()["items"] == []
    assert "Settled" in (await anna.get(f"/cases/{case.id}")).text
    assert (await anna.post(way, json={"act": "close", "reason": "w"})).status_code == 422
    for client in (anna, guest):
        await client.aclose()


async def test_a_failed_run_is_retried_by_a_person_or_a_token_that_may_dispatch(door: Door) -> None:
    case = await ended(door, Outcome.FAILED)
    anna, reader = await door.session("anna"), await door.token("read")
    assert "Propose it again where it failed" in (await anna.get(f"/cases/{case.id}")).text
    guest = await door.session("guest")
    seen_by_guest = (await guest.get(f"/cases/{case.id}")).text
    assert "Propose it again" not in seen_by_guest and "It takes somebody who may dispatch" in seen_by_guest
    await guest.aclose()
    way = f"/api/runs/{case.runfile.run}/retry" if case.runfile else ""
    assert (await door.http.post(way, headers=reader)).status_code == 403
    answer = await door.http.post(way, json={"reason": "mended"}, headers=await door.token("dispatch"))
    assert answer.status_code == 202
    opened = (await anna.get(f"/api/cases/{answer.json()['case']}")).json()
    assert opened["requested_by"].startswith("token:") and "mended" in opened["plan"]["why"]
    await anna.aclose()
