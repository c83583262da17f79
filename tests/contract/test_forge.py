"""What every forge promises. One list of makers; each test runs for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from receiver.domain.forge import Marks, person_account
from receiver.errors import Conflict, Refused
from tests.contract.places import MAKERS, Place

pytestmark = pytest.mark.anyio
#: of the ports Forge, Hosting and ReviewDesk


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def place(request: pytest.FixtureRequest, ops: object, database: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield await request.param(request, stack)


async def test_open_and_read(place: Place):
    number, head = await place.open()
    pull = await place.forge.read(number)
    assert (pull.state, pull.head_sha, pull.base_ref, pull.author) == ("open", head, "main", place.bot)
    assert pull.head_ref == "gitmedic/01939a00-1111-7000-8000-000000000001"
    assert pull.same_repository
    assert not pull.draft
    assert (pull.merge_sha, pull.merged_by, pull.merged_at, pull.closed_by, pull.reviews) == (None,) * 4 + ((),)


async def test_opening_again_finds_it(place: Place):
    number, head = await place.open()
    assert await place.open() == (number, head)
    other, _ = await place.open(str(uuid4()))
    assert other != number


async def test_merge(place: Place):
    number, head = await place.open()
    merged = await place.forge.approve_and_merge(number, head, "ada", "session")
    assert merged == await place.forge.read(number)
    assert (merged.state, merged.head_sha, merged.merged_by) == ("merged", head, place.merger("ada"))
    assert merged.merge_sha == await place.tip()
    assert merged.merge_sha not in (None, head)
    assert merged.merged_at is not None
    assert merged.merged_at.tzinfo is not None
    (review,) = merged.reviews
    assert (review.by, review.head_sha, review.verdict, review.via) == (
        person_account("ada"),
        head,
        "approve",
        "session",
    )


async def test_opening_a_merged_one_again_finds_it(place: Place):
    number, head = await place.open()
    await place.forge.approve_and_merge(number, head, "ada", "session")
    assert await place.open() == (number, head)


async def test_approving_twice_is_one_merge(place: Place):
    number, head = await place.open()
    merged = await place.forge.approve_and_merge(number, head, "ada", "session")
    assert await place.forge.approve_and_merge(number, head, "ada", "session") == merged
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, head, "bob", "session")
    assert await place.forge.read(number) == merged


async def test_an_old_head_is_not_merged(place: Place):
    number, _ = await place.open()
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, sha256(b"old").hexdigest()[:40], "ada", "session")
    pull = await place.forge.read(number)
    assert (pull.state, pull.reviews) == ("open", ())


async def test_close(place: Place):
    number, head = await place.open()
    await place.forge.close(number, "expired")
    await place.forge.close(number, "and again")
    pull = await place.forge.read(number)
    assert (pull.state, pull.closed_by, pull.merge_sha, pull.head_sha) == ("closed", place.bot, None, head)
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, head, "ada", "session")


async def test_a_merged_one_is_not_closed(place: Place):
    number, head = await place.open()
    merged = await place.forge.approve_and_merge(number, head, "ada", "session")
    with pytest.raises(Conflict):
        await place.forge.close(number, "too late")
    with pytest.raises(Conflict):
        await place.forge.reject(number, "bob", "session", "too late")
    assert await place.forge.read(number) == merged


async def test_reject(place: Place):
    number, head = await place.open()
    pull = await place.forge.reject(number, "ada", "session", "not now")
    assert pull == await place.forge.read(number)
    assert (pull.state, pull.closed_by) == ("closed", person_account("ada"))
    (review,) = pull.reviews
    assert (review.by, review.verdict, review.head_sha) == (person_account("ada"), "reject", head)
    assert await place.forge.reject(number, "ada", "session", "not now") == pull
    with pytest.raises(Conflict):
        await place.forge.reject(number, "bob", "session", "me too")
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, head, "bob", "session")


async def test_comment(place: Place):
    number, _ = await place.open()
    await place.forge.comment(number, "one\x00")
    await place.forge.comment(number, "two")


async def test_url(place: Place):
    number, _ = await place.open()
    assert (await place.forge.read(number)).url.endswith(f"/{number}")


async def test_marks(place: Place):
    number, head = await place.open()
    marks = Marks(head_sha=head, state="success", text="rehearsed", labels=("gitmedic", "gitmedic/risk-low"))
    await place.forge.mark(number, marks)
    await place.forge.mark(number, marks)


async def test_a_review_alone_merges_nothing(place: Place):
    number, head = await place.open()
    pull = await place.forge.approve(number, head, "ada", "session", signature="signed")
    assert (pull.state, [(one.by.login, one.signature) for one in pull.reviews]) == ("open", [("ada", "signed")])
    with pytest.raises(Conflict):
        await place.forge.approve(number, "f" * 40, "ada", "session")
    merged = await place.forge.approve_and_merge(number, head, "bob", "session")
    assert [one.by.login for one in merged.reviews] == ["ada", "bob"]


async def test_what_changed(place: Place):
    number, head = await place.open()
    other, _ = await place.open(str(uuid4()))
    assert await place.forge.changed(None) == [other, number]
    merged = await place.forge.approve_and_merge(number, head, "ada", "session")
    assert await place.forge.changed(None) == [other]
    assert merged.merged_at is not None
    assert number in await place.forge.changed(merged.merged_at - timedelta(minutes=1))
    assert await place.forge.changed(merged.merged_at + timedelta(days=1)) == []


async def test_the_pull_request_behind_a_commit(place: Place):
    number, head = await place.open()
    merged = await place.forge.approve_and_merge(number, head, "ada", "session")
    assert await place.forge.behind(merged.merge_sha or "") == number
    assert await place.forge.behind("f" * 40) is None


async def test_who_we_are_and_how_the_base_is_protected(place: Place):
    number, _ = await place.open()
    await place.protect()
    assert await place.forge.account() == (await place.forge.read(number)).author
    assert (await place.forge.posture()).weaknesses == ()


async def test_a_person_approves(place: Place):
    number, head = await place.open()
    await place.approves("ada", number)
    pull = await place.forge.read(number)
    (review,) = pull.reviews
    assert (pull.state, review.by, review.head_sha) == ("open", place.account("ada"), head)
    assert (review.verdict, review.stands, review.may_write) == ("approve", True, True)


async def test_a_person_merges(place: Place):
    number, head = await place.open()
    for style in place.styles:
        await place.merges("ada", number, style)
        pull = await place.forge.read(number)
        assert (pull.state, pull.head_sha, pull.base_ref, pull.closed_by) == ("merged", head, "main", None)
        assert (pull.merged_by, pull.merge_sha) == (place.account("ada"), await place.tip())
        assert await place.forge.behind(pull.merge_sha or "") == number
        number, head = await place.open(str(uuid4()))


async def test_a_person_closes(place: Place):
    number, head = await place.open()
    await place.closes("ada", number)
    pull = await place.forge.read(number)
    assert (pull.state, pull.closed_by, pull.merge_sha) == ("closed", place.account("ada"), None)
    assert number not in await place.forge.changed(None)
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, head, "ada", "session")


async def test_a_push_after_the_approval(place: Place):
    number, head = await place.open()
    await place.approves("ada", number)
    edited = await place.pushes("bob", number)
    pull = await place.forge.read(number)
    assert pull.head_sha == edited != head
    assert all(review.head_sha == head for review in pull.reviews)
    with pytest.raises(Conflict):
        await place.forge.approve_and_merge(number, head, "ada", "session")
    assert (await place.forge.read(number)).state == "open"


async def test_no_such_number(place: Place):
    for act in (
        place.forge.read(999),
        place.forge.comment(999, "x"),
        place.forge.close(999, "x"),
        place.forge.mark(999, Marks(head_sha="f" * 40, state="pending", text="x")),
        place.forge.approve(999, "f" * 40, "ada", "session"),
        place.forge.approve_and_merge(999, "f" * 40, "ada", "session"),
        place.forge.reject(999, "ada", "session", "x"),
    ):
        with pytest.raises(Refused):
            await act
