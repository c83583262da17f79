"""What stands between the revision in force and the tip, who accepted it, and whose turn it is to look."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.store.desk import PostgresDesk
from receiver.adapters.store.ledger import PostgresLedger
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.watchbook import PostgresWatchbook
from receiver.ports import Acceptances, Adoption, Watchbook
from receiver.testing.clock import FakeClock
from receiver.testing.people import FakeDesk
from receiver.testing.repo import FakeAdoption, FakeRepo, FakeWatchbook
from receiver.testing.store import FakeCases, FakeRuns
from tests.fix_repo import FIRST, Person

pytestmark = pytest.mark.anyio


class Place(NamedTuple):
    """A base branch to which somebody pushes a reviewed change; (commit, head of its pull request)."""

    adoption: Adoption
    adopted: str
    change: Callable[[], tuple[str, str]]


@pytest.fixture(params=["git", "fake"])
async def place(request: pytest.FixtureRequest, ops: OpsRepository, person: Person) -> Place:
    if request.param == "fake":
        repo = FakeRepo()
        fake = FakeAdoption(repo)
        adopted = repo.adopt(FIRST)

        def played() -> tuple[str, str]:
            fake.reviewed.add("d" * 40)
            return fake.push({**FIRST, "policy.yml": uuid4().bytes}), "d" * 40

        return Place(fake, adopted, played)

    def real() -> tuple[str, str]:
        person.on_main()
        person.git("checkout", "-q", "-b", f"topic-{uuid4().hex}")
        person.write("policy.yml", f"mode: observe  # {uuid4().hex}\n".encode())
        head = person.commit("A change of policy")
        person.git("push", "-q", "gitmedic", "HEAD")
        branch = person.say("rev-parse", "--abbrev-ref", "HEAD")
        person.on_main()
        person.git("merge", "-q", "--no-ff", branch)
        return person.push_main(), head

    return Place(ops, await ops.adopted(), real)


async def test_nothing_waits_where_nothing_was_pushed(place: Place):
    assert await place.adoption.pending(place.adopted) == ()


async def test_what_waits_comes_in_order(place: Place):
    first, _ = place.change()
    second, _ = place.change()
    waiting = await place.adoption.pending(place.adopted)
    assert [one.commit for one in waiting] == [first, second]
    assert await place.adoption.fetch() == second
    assert await place.adoption.pending(second) == ()


async def test_a_digest_is_of_both_ends(place: Place):
    first, _ = place.change()
    second, _ = place.change()
    assert await place.adoption.digest(place.adopted, first) != await place.adoption.digest(place.adopted, second)
    assert await place.adoption.digest(place.adopted, first) == await place.adoption.digest(place.adopted, first)


async def test_only_what_a_head_showed_is_as_reviewed(place: Place):
    commit, head = place.change()
    assert await place.adoption.as_reviewed(place.adopted, commit, commit, head, "topic")
    assert not await place.adoption.as_reviewed(place.adopted, commit, commit, place.adopted, "topic")


async def test_a_merge_with_more_in_it_is_nobodys_review(ops: OpsRepository, person: Person):
    """As a person who merges by hand may do it: the merge commit itself changes what nobody was shown."""
    person.on_main()
    person.git("checkout", "-q", "-b", "topic")
    person.write("policy.yml", b"mode: observe\n")
    head = person.commit("A change of policy")
    person.git("push", "-q", "gitmedic", "HEAD")
    person.on_main()
    person.git("merge", "-q", "--no-ff", "--no-commit", "topic")
    person.write("inventory/hosts.yml", b"all: {hosts: {evil: {}}}\n")
    merge = person.commit("Merge")
    person.push_main()
    assert not await ops.as_reviewed(await ops.adopted(), merge, merge, head, "topic")


async def test_a_base_that_was_rewritten_takes_nothing_back_unseen(ops: OpsRepository, person: Person, bare: Path):
    """What was in force is dropped from the base, and a reviewed change of something else stands on what is left."""
    person.on_main()
    person.write("policy.yml", b"mode: observe\n")
    in_force = person.commit("What is in force")
    person.push_main()
    subprocess.run(["git", "--git-dir", str(bare), "update-ref", "refs/heads/main", f"{in_force}~1"], check=True)
    person.git("fetch", "-q", "gitmedic")
    person.git("checkout", "-q", "-B", "main", "gitmedic/main")
    person.git("checkout", "-q", "-b", "topic")
    person.write("prompts/plan.j2", b"Plan well.\n")
    head = person.commit("A change of a prompt")
    person.git("push", "-q", "gitmedic", "HEAD")
    person.on_main()
    person.git("merge", "-q", "--no-ff", "topic")
    merge = person.push_main()
    assert await ops.as_reviewed(await ops.adopted(), merge, merge, head, "topic")
    assert not await ops.as_reviewed(in_force, merge, merge, head, "topic")


# --- words and turns

Maker = Callable[[pytest.FixtureRequest, AsyncExitStack], Awaitable[tuple[Acceptances, Watchbook, Any]]]


async def postgres(request: pytest.FixtureRequest, stack: AsyncExitStack) -> tuple[Acceptances, Watchbook, Any]:
    pool = await stack.enter_async_context(open_pool(request.getfixturevalue("database")))
    return PostgresDesk(pool), PostgresWatchbook(pool), PostgresLedger(pool)


async def fake(request: pytest.FixtureRequest, stack: AsyncExitStack) -> tuple[Acceptances, Watchbook, Any]:
    clock = FakeClock()
    cases = FakeCases(clock)
    return FakeDesk(clock, cases, FakeRuns(cases)), FakeWatchbook(clock), clock


@pytest.fixture(params=[postgres, fake], ids=["postgres", "fake"])
async def desk(request: pytest.FixtureRequest, database: str) -> AsyncIterator[tuple[Acceptances, Watchbook, Any]]:
    maker: Maker = request.param
    async with AsyncExitStack() as stack:
        yield await maker(request, stack)


async def test_words_are_counted_once_each_and_for_exactly_this(desk: tuple[Acceptances, Watchbook, Any]):
    words, _, _ = desk
    old, new = "a" * 40, "b" * 40
    assert await words.accept(old, new, "d", person="anna", via="terminal") == ("anna",)
    assert await words.accept(old, new, "d", person="anna", via="session") == ("anna",)
    assert await words.accept(old, new, "d", person="bert", via="session") == ("anna", "bert")
    assert await words.accept(old, new, "other", person="bert", via="session") == ("bert",)


async def test_one_looks_at_a_time(desk: tuple[Acceptances, Watchbook, Any]):
    _, book, _ = desk
    turn = await book.begin("12", 60)
    assert turn is not None and turn.since is None
    assert await book.begin("12", 60) is None
    assert await book.begin("13", 60) is not None
    await book.done("12", None)
    again = await book.begin("12", 60)
    assert again is not None and again.since is None
    await book.done("12", again.at)
    await book.done("12", again.at - timedelta(hours=1))
    last = await book.begin("12", 60)
    assert last is not None and last.since == again.at


async def test_a_turn_that_ran_out_is_somebody_elses(desk: tuple[Acceptances, Watchbook, Any]):
    _, book, _ = desk
    assert await book.begin("12", 0) is not None
    assert await book.begin("12", 60) is not None


async def test_a_head_is_remembered(desk: tuple[Acceptances, Watchbook, Any]):
    _, book, _ = desk
    case, run = str(uuid4()), str(uuid4())
    assert not await book.seen("12", 7, "a" * 40)
    await book.keep("12", 7, "a" * 40, case=None, why="no run file")
    await book.keep("12", 7, "a" * 40, case=case, why="")
    assert await book.seen("12", 7, "a" * 40)
    assert not await book.seen("12", 7, "b" * 40) and not await book.seen("12", 8, "a" * 40)
    assert not await book.is_known(run, case)
    assert await book.is_known("no id", case) and await book.is_known(run, "no id")
