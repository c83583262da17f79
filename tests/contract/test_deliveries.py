"""What the store promises of a forge's webhooks: the port Deliveries."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.case import Approved, Proposed
from receiver.domain.delivery import Delivery
from tests.fix_stores import BOTH, Stores

pytestmark = pytest.mark.anyio
SHA = "a" * 40


def delivery(id: str = "one", **more: object) -> Delivery:
    return Delivery(**{"forge": "gitea", "repository": "42", "id": id, "event": "push"} | more)  # type: ignore[arg-type]


async def waiting(stores: Stores, case: Proposed, repository: str = "42", place: str = "") -> int:
    """Put a proposal where nobody looks at it for an hour; its number."""
    opened = await stores.open()
    proposal = case.proposal.model_copy(update={"repository": repository, "place": place})
    known = case.model_copy(update={"id": opened.id, "proposal": proposal})
    await stores.save(known)
    await stores.cases.put_off(await stores.claim(), at=None, after_seconds=3600, why="needs you")
    assert await stores.cases.claim(BOTH, "w") is None
    return known.proposal.number


async def test_the_same_delivery_is_taken_once(stores: Stores) -> None:
    assert await stores.deliveries.take(delivery())
    assert not await stores.deliveries.take(delivery(event="pull_request", number=3))
    assert await stores.deliveries.take(delivery("two"))
    assert await stores.deliveries.take(delivery(repository="43"))
    assert await stores.deliveries.take(delivery(forge="gitlab"))
    both = await asyncio.gather(*[stores.deliveries.take(delivery("three")) for _ in range(8)])
    assert sorted(both) == [False] * 7 + [True]


async def test_it_wakes_the_case_that_waits_for_its_pull_request(
    stores: Stores, proposed: tuple[Proposed, Approved]
) -> None:
    number = await waiting(stores, proposed[0])
    for nothing in (delivery("a"), delivery("b", number=number + 1)):
        await stores.deliveries.take(nothing)
        assert await stores.cases.claim(BOTH, "w") is None
    await stores.deliveries.take(delivery("c", number=number))
    assert (await stores.claim()).case.kind == "proposed"


@pytest.mark.parametrize(
    ("repository", "place", "others", "its_own"),
    [
        ("42", "", ("43", "lab/42"), "42"),
        ("42", "lab", ("42", "attic/42", "lab/43"), "lab/42"),
        ("", "", ("lab/42",), "42"),  # of before it was written down: in the catalog's repository
    ],
)
async def test_another_repository_has_a_pull_request_of_that_number_as_well(
    stores: Stores, proposed: tuple[Proposed, Approved], repository: str, place: str, others: tuple[str, ...],
    its_own: str,
) -> None:  # fmt: skip
    number = await waiting(stores, proposed[0], repository, place)
    (case,) = [one["id"] for one in (await stores.archive.cases(limit=9, cursor=None, filters={})).items]
    for other in others:
        await stores.deliveries.take(delivery("a", repository=other, number=number))
        assert await stores.cases.claim(BOTH, "w") is None
        assert await stores.archive.case_of_proposal(other, number) is None
    assert await stores.archive.case_of_proposal(its_own, number) == case
    await stores.deliveries.take(delivery("b", repository=its_own, number=number))
    assert (await stores.claim()).case.kind == "proposed"


async def test_the_same_again_wakes_nobody(stores: Stores, proposed: tuple[Proposed, Approved]) -> None:
    number = await waiting(stores, proposed[0])
    await stores.deliveries.take(delivery(number=number))
    await stores.cases.put_off(await stores.claim(), at=None, after_seconds=3600, why="needs you")
    assert not await stores.deliveries.take(delivery(number=number))
    assert await stores.cases.claim(BOTH, "w") is None


async def test_what_came_is_told_in_order(stores: Stores) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    pushed = delivery("one", ref="refs/heads/main", after_sha=SHA, pusher="7")
    about = delivery("two", event="pull_request", number=3)
    for one in (pushed, about, delivery("other", repository="43"), delivery("else", forge="github")):
        await stores.deliveries.take(one)
    assert await stores.deliveries.since("gitea", "42", before) == [pushed, about]
    assert await stores.deliveries.since("gitea", "42", before + timedelta(hours=1)) == []
