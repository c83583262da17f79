"""Similar cases on a case's page and in its JSON: links, an operator's words as such, and an empty state."""

import re

import pytest

from receiver.domain.outcome import Outcome
from tests.contract.test_memory import closed
from tests.door import HOSTILE, Door, proposed

pytestmark = pytest.mark.anyio


def part(page: str) -> str:
    """The card alone."""
    found = re.search(r'<section[^>]*aria-labelledby="similar">.*?</section>', page, re.DOTALL)
    assert found is not None
    return found[0]


async def test_what_was_recalled_is_linked_and_escaped(door: Door) -> None:
    store = door.office.store
    fixed, failed = closed("WebDown", playbook="web_restart"), closed("WebDown", Outcome.NOT_FIXED)
    for case in (fixed, failed):
        await store.memory.remember(case)
    note = await store.notebook.add(HOSTILE, author="os:eve", alertname="WebDown", tags=["web"])
    case = await proposed(door)
    assert {one.id for one in case.memories} == {fixed.id, failed.id, note["id"]}
    anna = await door.session("anna")
    shown = part((await anna.get(f"/cases/{case.id}")).text)
    assert f'href="/cases/{fixed.id}"' in shown and f'href="/cases/{failed.id}"' in shown
    assert "<script>alert" not in shown and "&lt;script&gt;" in shown and "{{ 7*7 }}" in shown
    assert "os:eve, not checked" in shown and f'href="/cases/{note["id"]}"' not in shown
    told = (await door.http.get(f"/api/cases/{case.id}", headers=await door.token("read"))).json()
    assert {one["id"] for one in told["memories"]} == {fixed.id, failed.id, note["id"]}
    await anna.aclose()


async def test_without_any_it_says_so_and_a_dispatch_has_no_such_part(door: Door) -> None:
    case = await proposed(door)
    anna = await door.session("anna")
    assert "No verified case is like this one" in part((await anna.get(f"/cases/{case.id}")).text)
    by_hand = await door.office.doors.dispatch(
        "web_restart", {"host": "web2", "service": "web"}, actor="user:anna", reason=""
    )
    assert 'aria-labelledby="similar"' not in (await anna.get(f"/cases/{by_hand}")).text
    await anna.aclose()
