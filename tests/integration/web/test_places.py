"""A proposal is found on our pages beside its repository: two of them both have a number 1."""

from __future__ import annotations

import pytest

from tests.door import Door, proposed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("repository", "place", "found", "nothing"),
    [
        ("local", "", "/proposals/{}", "/proposals/lab/{}"),
        ("lab/local", "lab", "/proposals/lab/{}", "/proposals/{}"),
    ],
)
async def test_a_page_of_a_proposal_is_that_of_its_repository(
    door: Door, repository: str, place: str, found: str, nothing: str
) -> None:
    case = await proposed(door)
    await door.rows(
        f"UPDATE cases SET repository = '{repository}', body = jsonb_set(body, '{{proposal,place}}', '\"{place}\"') "
        f"WHERE id = '{case.id}' RETURNING id"
    )
    anna = await door.session("anna")
    there = await anna.get(found.format(case.proposal.number))
    assert (there.status_code, there.headers["location"]) == (303, f"/cases/{case.id}")
    assert (await anna.get(nothing.format(case.proposal.number))).status_code >= 400
    page = (await anna.get(f"/cases/{case.id}")).text
    assert ("in place lab" in page) is bool(place)
    if place:
        # the settings know no such place: nothing is decided anywhere, least of all in the catalog's repository
        refused = await anna.post(f"/api/cases/{case.id}/approve", json={"head_sha": case.proposal.head_sha})
        assert refused.status_code >= 400 and "the settings name no such place" in refused.text
        pull = await door.office.forge.read(case.proposal.number)
        assert (pull.state, pull.reviews) == ("open", ())
    await anna.aclose()
